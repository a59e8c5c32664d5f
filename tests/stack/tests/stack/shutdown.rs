//! Programs that get SIGTERM while clients are connected end in time and leave no task behind.

use std::fs;
use std::time::{Duration, Instant};

use bkv_stack_tests::Fleet;
use bkv_stack_tests::chatd::Chatd;
use bkv_stack_tests::issuer::{CHATD, VAULT};
use bkv_stack_tests::raw::{Inner, Raw};

/// The limit that ChatD's help documents. A vault has no clients to drain and ends sooner.
const IN_TIME: Duration = Duration::from_secs(10);
const ENDED: &str = "all tasks have ended";

/// A client with `sessions` open at the vault that leads its shard.
async fn client(fleet: &Fleet, chatd: &Chatd, name: &str, sessions: u64) -> (Raw, Vec<Inner>) {
    let (issuer, settings) = (fleet.issuer(), fleet.identities().await);
    let mut raw = chatd.endpoint().relay(&issuer.good(name, CHATD)).await.unwrap();
    let mut open = Vec::new();
    for stream in 1..=sessions {
        open.push(Inner::entered(&mut raw, stream, &settings, &issuer.good(name, VAULT)).await);
    }
    (raw, open)
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_with_open_sessions_stop_in_time_and_leave_no_task() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let mut chatd = Chatd::start(&fleet, "second", |_| {});
    let mut clients = Vec::new();
    for name in ["alice", "bob", "carol", "dave"] {
        clients.push(client(&fleet, &chatd, name, 3).await);
    }
    for region in fleet.regions() {
        let began = Instant::now();
        fleet.region("stop", &region);
        assert!(began.elapsed() < IN_TIME, "{region}: {:?}", began.elapsed());
        let log = fs::read_to_string(fleet.dir().join("regions").join(&region).join("log")).unwrap();
        assert!(log.contains(ENDED) && !log.contains("still run"), "{region}: {log}");
    }
    let began = Instant::now();
    chatd.terminate();
    assert_eq!(chatd.ended(), 0);
    assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
    assert!(chatd.log().contains(ENDED) && !chatd.log().contains("still run"), "{}", chatd.log());
}
