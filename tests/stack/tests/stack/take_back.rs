//! S54: a thief of the backup key and a token replaces V at the vaults, and the owner takes it back.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bkv_client::{
    BackupKey, Client, Fleet as Roots, Hash, LedgerName, OsRandom, Root, Runtime, Secret32, SetLedger,
    TokioClock, Trust, VolatileMemory, WebSocketTransport, WriterId, Zeroizing,
};
use bkv_stack_tests::{Account, Fleet, RIGHT};
use serde_json::Value;

/// A client of the thief's own, with the fleet's profile and the account's tokens.
fn client(fleet: &Fleet, account: &Account<'_>) -> Client {
    let folder = fleet.dir();
    let profile: toml::Table = fs::read_to_string(folder.join("fleet.toml")).unwrap().parse().unwrap();
    let read = |field: &str| fs::read(folder.join(profile[field].as_str().unwrap())).unwrap();
    let tokens: Value = serde_json::from_slice(&fs::read(&account.token).unwrap()).unwrap();
    let token = |which: &str| Zeroizing::new(tokens[which].as_str().unwrap().to_owned());
    let trust = Trust::Pem(read("chatd_ca"));
    let chatd = profile["chatd"].as_str().unwrap();
    let runtime = Runtime {
        transport: Arc::new(WebSocketTransport::new(chatd, &trust, &token("chatd")).unwrap()),
        clock: Arc::new(TokioClock::default()),
        random: Arc::new(OsRandom),
    };
    let roots = Roots::new(Root::decode(&read("root")).unwrap(), VolatileMemory::default());
    Client::new(Arc::new(roots), runtime, token("vault"))
}

/// Names a ledger that exists nowhere, under a V of the thief's.
async fn replace_v(client: &Client, key: &BackupKey, writer: [u8; 16]) {
    let writer = WriterId(writer);
    let named = client.named(&writer).await.unwrap().unwrap();
    let ledger = LedgerName { counter: named.counter + 3, hash: Hash([9; 32]) };
    let v = Some(Secret32::new([9; 32]));
    let change = SetLedger { writer, expected: Some(named.hash), ledger, v };
    client.set_ledger(key, &change).await.unwrap();
}

fn writer_id(digits: &str) -> [u8; 16] {
    let digit = |n: usize| u8::from_str_radix(&digits[n..n + 2], 16).unwrap();
    std::array::from_fn(|n| digit(2 * n))
}

#[test]
fn s54_a_thief_of_key_and_token_does_not_lock_the_owner_out() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    let at = |n: &str| fleet.path(n).to_str().unwrap().to_owned();
    for folder in ["docs", "cloud", "elsewhere"] {
        fs::create_dir(fleet.path(folder)).unwrap();
    }
    let (docs, cloud) = (at("docs"), at("cloud"));
    let back_up = |content: &str| {
        fs::write(fleet.path("docs/file"), content).unwrap();
        let args = ["backup", &docs, "--to", &cloud, "--form", "series", "--name", "docs"];
        alice.run(&args, "home", None).expect(0).json
    };
    back_up("one");
    let writer = back_up("two")["writer"].as_str().unwrap().to_owned();
    // Nobody has replaced V.
    let take_back = |from: &str| alice.run(&["take-back", &at(from), &writer[..8]], "phone", None);
    alice.run(&["recover"], "phone", Some(RIGHT)).expect(0);
    take_back("cloud").expect(66);

    let state = fs::read(alice.state("home").join("device.json")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    let key = BackupKey::from_digits(state["key"].as_str().unwrap()).unwrap();
    let thief = client(&fleet, &alice);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(replace_v(&thief, &key, writer_id(&writer)));
    let restore = |to: &str, options: &[&str]| {
        let to = at(to);
        alice.run(&[&["restore", &cloud, "--to", &to], options].concat(), "phone", None)
    };
    restore("none", &[]).expect(65);
    assert!(!Path::new(&at("none")).exists());
    let listed = alice.run(&["writers"], "phone", None).expect(0).json;
    assert!(listed["writers"][0]["v_before_until_ms"].as_u64().is_some(), "{listed}");

    // At another place there is nothing that it would bring back.
    take_back("elsewhere").expect(66);
    // The thief's ledger is not there. Without a terminal the answer is no.
    let refused = take_back("cloud").expect(2).json;
    assert!(refused["message"].as_str().unwrap().contains("does not open here"), "{refused}");
    let args = ["take-back", &cloud, &writer[..8], "--yes"];
    let taken = alice.run(&args, "phone", None).expect(0).json;
    assert!(taken["given_up_ledger"].as_u64().unwrap() > 4, "{taken}");
    assert_eq!((taken["back"].as_array().unwrap().len(), taken["lost"].as_array().unwrap().len()), (2, 0));
    for (to, number, content) in [("out", "latest", "two"), ("old", "1", "one")] {
        restore(to, &["--generation", number]).expect(0);
        assert_eq!(fs::read(fleet.path(to).join("file")).unwrap(), content.as_bytes());
    }
    // The device goes on as a writer of its own.
    let next = back_up("three");
    assert_eq!((&next["new_writer"], &next["named_at_vault"]), (&true.into(), &true.into()), "{next}");
    alice.run(&["verify", &cloud], "phone", None).expect(0);
}
