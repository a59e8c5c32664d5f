//! Chaos: real vaults are killed, paused, restarted and moved apart while people register, recover and guess. No key is lost, and no try is refilled or counted
//! twice. `make chaos` runs it for half an hour.

mod belief;
mod faults;
mod people;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bkv_client::Root;
use bkv_stack_tests::Fleet;
use futures_util::future::join_all;
use people::{Access, Person, Tally};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const PEOPLE: u64 = 6;
const SECONDS: u64 = 150;

/// A number from the environment.
fn wished(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

/// S23, S24, S51. BKV_CHAOS_SECONDS sets how long it runs, and BKV_CHAOS_SEED repeats the faults of another run.
#[test]
fn s51_no_key_is_lost_and_no_try_is_miscounted_in_chaos() {
    let seconds = wished("BKV_CHAOS_SECONDS").unwrap_or(SECONDS);
    let seed = wished("BKV_CHAOS_SEED").unwrap_or_else(|| rand::thread_rng().r#gen());
    eprintln!("chaos: {seconds} s, BKV_CHAOS_SEED={seed}");
    let options = ["--round-trip", "20ms", "--jitter", "0%", "--lifetime-failures", "1000", "--bench-no-ksf"];
    let fleet = Fleet::with(&options);
    let access = Arc::new(Access {
        chatd: format!("https://127.0.0.1:{}", fleet.plan()["chatd"]),
        chatd_ca: std::fs::read(fleet.dir().join("chatd/web-ca.crt")).unwrap(),
        root: Root::decode(&std::fs::read(fleet.dir().join("root.bin")).unwrap()).unwrap(),
        issuer: fleet.issuer(),
        seed,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let live = |n| runtime.spawn(Person::new(access.clone(), n).live(stop.clone()));
    let people: Vec<_> = (0..PEOPLE).map(live).collect();

    faults::until(&fleet, &mut StdRng::seed_from_u64(seed), Instant::now() + Duration::from_secs(seconds));
    stop.store(true, Ordering::Relaxed);

    let mut tally = Tally::default();
    runtime.block_on(async {
        let people = join_all(people).await;
        let audits = people.into_iter().map(|person| tokio::spawn(person.unwrap().audit()));
        for audit in join_all(audits).await {
            tally.add(audit.unwrap());
        }
    });
    for (what, count) in &tally.counts {
        eprintln!("{count:6} {what}");
    }
    assert!(tally.faults.is_empty(), "BKV_CHAOS_SEED={seed}: {:#?}", tally.faults);
    // A run in which nothing was possible shows nothing.
    for what in ["registered", "recovered", "guessed wrongly"] {
        let count = tally.counts.get(what).copied().unwrap_or_default();
        assert!(count >= seconds / 10, "{what} only {count} times in {seconds} s");
    }
}
