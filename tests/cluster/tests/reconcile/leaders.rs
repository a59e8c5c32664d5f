//! Two operators: one writes, and the other takes over.

use std::time::{Duration, Instant};

use bkv_cluster_tests::Operator;
use rustix::process::Signal;
use serde_json::json;

use crate::TestNamespace;

async fn leads(place: &TestNamespace<'_>, operator: &Operator, seconds: u64) -> Duration {
    let since = Instant::now();
    place
        .eventually(
            "a leader",
            seconds,
            async || if operator.leads() { Ok(()) } else { Err(operator.log_text()) },
        )
        .await;
    since.elapsed()
}

fn serves(operator: &Operator) {
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(operator.ask(path).map(|(code, _)| code), Some(200), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_writes_and_both_serve() {
    let place = TestNamespace::new("leaders").await;
    let first = place.operator_called("first");
    leads(&place, &first, 20).await;
    let second = place.operator_called("second");
    place.eventually("ready", 20, async || second.ask("/readyz").filter(|(c, _)| *c == 200).ok_or(())).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(first.leads() && !second.leads());
    serves(&first);
    serves(&second);
    let lease = place.get("Lease", "bkv-operator").await.unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "first");
    place.demo(json!({})).await;
    place.until_started().await;
    assert_eq!(second.metric("bkv_operator_writes_total", ""), Some(0.0));
}

/// The leader is killed, and its lease expires.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_the_other_takes_over_within_twenty_seconds() {
    let place = TestNamespace::new("leader-killed").await;
    let mut first = place.operator_called("first");
    leads(&place, &first, 20).await;
    let second = place.operator_called("second");
    place.demo(json!({})).await;
    place.until_started().await;
    first.signal(Signal::KILL);
    first.ended(Duration::from_secs(5)).expect("killed");
    let took = leads(&place, &second, 20).await;
    place.demo(json!({ "networkPolicy": "None" })).await;
    place.until_gone("NetworkPolicy", "demo-vault").await;
    println!("took over after a kill: {took:?}");
}

/// An orderly end, as in a rolling restart. The leader releases the lease, so the next replica does not wait for its expiry.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_orderly_end_the_other_takes_over_within_five_seconds() {
    let place = TestNamespace::new("leader-ended").await;
    let mut first = place.operator_called("first");
    leads(&place, &first, 20).await;
    let second = place.operator_called("second");
    place.demo(json!({})).await;
    place.until_started().await;
    place.eventually("ready", 20, async || second.ask("/readyz").filter(|(c, _)| *c == 200).ok_or(())).await;
    first.signal(Signal::TERM);
    let took = leads(&place, &second, 5).await;
    let ended = first.ended(Duration::from_secs(3)).expect("ended");
    assert_eq!(ended.code(), Some(0), "{}", first.log_text());
    println!("took over after an orderly end: {took:?}");
    // A replica that waits for the lease ends at once.
    let mut third = place.operator_called("third");
    place.eventually("ready", 20, async || third.ask("/readyz").filter(|(c, _)| *c == 200).ok_or(())).await;
    third.signal(Signal::TERM);
    assert_eq!(third.ended(Duration::from_secs(3)).expect("ended").code(), Some(0), "{}", third.log_text());
}
