//! Key metadata in Postgres: what it records and what it must not contain. Losing or damaging it harms no key.

use std::fs;
use std::time::Duration;

use bkv_stack_tests::db::{dump, run};
use bkv_stack_tests::issuer::CHATD;
use bkv_stack_tests::raw::Endpoint;
use bkv_stack_tests::{Fleet, RIGHT};
use rustix::process::Signal;
use serde_json::Value;
use sqlx::postgres::PgPool;
use tokio::time::{Instant, sleep};

/// Repeats the request until the answer is as wanted: the projection follows the vaults with a delay.
async fn until(endpoint: &Endpoint, token: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = endpoint.account(token).await;
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited for {what}: {answer}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn fresh(state: &'static str, tries: Option<i64>) -> impl Fn(&Value) -> bool {
    move |v| v["stale"] == false && v["state"] == state && tries.is_none_or(|t| v["tries_left"] == t)
}

/// `/v1/account` reports the whole life of an account. At its end no table contains a secret or the account's id.
#[tokio::test(flavor = "multi_thread")]
async fn s04_the_life_of_an_account_and_no_secret_in_any_table() {
    let fleet = Fleet::up();
    let (endpoint, issuer) = (fleet.endpoint(), fleet.issuer());
    let token = issuer.good("alice", CHATD);
    let before = until(&endpoint, &token, "no key", fresh("none", None)).await;
    assert_eq!(before["exists"], false);
    let alice = fleet.registered("alice");
    let live = until(&endpoint, &token, "a key", fresh("live", Some(10))).await;
    assert_eq!(live["exists"], true);
    let since = live["since_ms"].as_i64().unwrap();
    for left in [9, 8] {
        alice.recover("thief", "wrong password entirely").expect(10);
        until(&endpoint, &token, "a try less", fresh("live", Some(left))).await;
    }
    alice.recover("phone", RIGHT).expect(0);
    let again = until(&endpoint, &token, "all tries", fresh("live", Some(10))).await;
    assert_eq!(again["since_ms"].as_i64(), Some(since));

    // The device knows the key and the account's id. Postgres must not contain them in any spelling.
    let device: Value =
        serde_json::from_slice(&fs::read(fleet.path("alice-phone").join("device.json")).unwrap()).unwrap();
    let tokens: Value = serde_json::from_slice(&fs::read(&alice.token).unwrap()).unwrap();
    alice.run(&["delete", "--yes"], "phone", None).expect(0);
    let deleted = until(&endpoint, &token, "deleted", fresh("deleted", None)).await;
    assert_eq!(deleted["exists"], false);

    let eve = fleet.registered("eve");
    for _ in 0..10 {
        eve.recover("thief", "wrong password entirely");
    }
    until(&endpoint, &issuer.good("eve", CHATD), "destroyed", |v| {
        v["stale"] == false && v["state"] == "destroyed"
    })
    .await;

    let text = dump(&fleet.database().await).await.to_lowercase();
    assert!(text.contains("keys: ") && text.contains("cursors: "), "the dump shows the tables");
    for secret in [RIGHT, "wrong password", "alice", "eve", "bkv-vault"] {
        assert!(!text.contains(secret), "{secret} in a table");
    }
    for field in ["key", "account"] {
        assert!(!text.contains(device[field].as_str().unwrap()), "{field} in a table");
    }
    for field in ["chatd", "vault"] {
        let (_, signature) = tokens[field].as_str().unwrap().rsplit_once('.').unwrap();
        assert!(!text.contains(&signature.to_lowercase()), "{field} token in a table");
    }
}

/// Postgres is hung, then killed: answers are `stale`, registrations and recoveries go on, and ChatD catches up afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_answers_are_stale_and_recoveries_go_on() {
    let fleet = Fleet::up();
    let (endpoint, issuer) = (fleet.endpoint(), fleet.issuer());
    let token = issuer.good("alice", CHATD);
    let alice = fleet.registered("alice");
    until(&endpoint, &token, "a key", fresh("live", Some(10))).await;
    fleet.signal_postgres(Signal::STOP);
    assert_eq!(endpoint.account(&token).await["stale"], true);
    alice.recover("thief", "wrong password entirely").expect(10);
    fleet.registered("bob");
    assert_eq!(endpoint.account(&token).await["stale"], true);
    fleet.signal_postgres(Signal::CONT);
    until(&endpoint, &token, "nine tries", fresh("live", Some(9))).await;

    fleet.signal_postgres(Signal::KILL);
    until(&endpoint, &token, "stale", |v| v["stale"] == true).await;
    alice.recover("thief", "wrong password entirely").expect(10);
    alice.recover("thief", "wrong password entirely").expect(10);
    fleet.registered("carol");
    assert_eq!(endpoint.account(&token).await["stale"], true);
    fleet.dev(&["up"], &[]).expect(0);
    // ChatD never marks an old answer as fresh.
    let caught_up = until(&endpoint, &token, "fresh again", |v| v["stale"] == false).await;
    assert_eq!(caught_up["tries_left"], 7, "{caught_up}");
    for name in ["bob", "carol"] {
        until(&endpoint, &issuer.good(name, CHATD), name, fresh("live", Some(10))).await;
    }
    alice.recover("phone", RIGHT).expect(0);
}

async fn table(pool: &PgPool) -> Vec<String> {
    // `cursor` and `changed_ms` depend on the time of the scan, and `next_ms` changes with every recovery.
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT (route, state, generation, tries_left, since_ms)::text FROM keys ORDER BY route",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    rows.into_iter().map(|r| r.0).collect()
}

async fn healed(pool: &PgPool, good: &[String], what: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while table(pool).await != good {
        assert!(Instant::now() < deadline, "{what}: {:?} instead of {good:?}", table(pool).await);
        sleep(Duration::from_millis(50)).await;
    }
}

/// An attacker or a fault empties the tables, sets cursors back or forth, or changes rows while ChatD runs. ChatD restores the rows from the vaults.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_tables_are_restored_from_the_vaults() {
    let fleet = Fleet::up();
    let (endpoint, issuer) = (fleet.endpoint(), fleet.issuer());
    for name in ["alice", "bob", "carol", "dave", "erin"] {
        fleet.registered(name);
        until(&endpoint, &issuer.good(name, CHATD), name, fresh("live", Some(10))).await;
    }
    let alice = fleet.account("alice");
    alice.recover("thief", "wrong password entirely").expect(10);
    until(&endpoint, &issuer.good("alice", CHATD), "nine", fresh("live", Some(9))).await;
    let db = fleet.database().await;
    let good = table(&db).await;
    assert_eq!(good.len(), 5);

    // Taking all events a second time changes nothing.
    run(&db, "UPDATE cursors SET cursor = 0").await;
    healed(&db, &good, "cursors set back").await;
    // Both tables are emptied, and then an event of one account arrives. It must not hide that the other rows are gone.
    run(&db, "TRUNCATE keys, cursors").await;
    fleet.account("bob").recover("phone", RIGHT).expect(0);
    healed(&db, &good, "emptied").await;
    run(&db, "TRUNCATE keys").await;
    healed(&db, &good, "keys emptied").await;
    // An answer meanwhile may be old and is then marked as stale. In the end it is fresh.
    until(&endpoint, &issuer.good("carol", CHATD), "carol", fresh("live", Some(10))).await;

    // Changed rows with a cursor beyond every event, and a row of a key that never existed. A scan repairs all of it.
    run(
        &db,
        "UPDATE keys SET state = 'destroyed', tries_left = 0, generation = 99, cursor = 4000000000000000000",
    )
    .await;
    run(&db, "INSERT INTO keys SELECT decode(repeat('ab', 32), 'hex'), 'live', 1, 10, 1, 0, 1, shard, cursor, event, slot, signature FROM keys LIMIT 1").await;
    run(&db, "DELETE FROM cursors").await;
    healed(&db, &good, "tampered with").await;
    // A cursor from the future: the vault does not know it and scans.
    run(&db, "UPDATE keys SET tries_left = 3").await;
    run(&db, "UPDATE cursors SET cursor = 4000000000000000000").await;
    for region in fleet.regions() {
        fleet.region("stop", &region);
        fleet.start(&region);
    }
    healed(&db, &good, "a cursor from the future").await;
    // New events continue from there.
    alice.recover("phone", RIGHT).expect(0);
    until(&endpoint, &issuer.good("alice", CHATD), "ten", fresh("live", Some(10))).await;
}
