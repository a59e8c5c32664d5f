//! The API server fails and returns. Each test has its own server.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bkv_cluster_tests::{ApiServer, Operator};
use rustix::process::{Signal, kill_process};
use serde_json::json;

use crate::{TestNamespace, definition, server_with};

/// Acts like a Deployment's pod: restarts the operator whenever it ends.
struct Kept<'a> {
    place: &'a TestNamespace<'a>,
    operator: Operator,
    ends: u32,
}

impl Kept<'_> {
    fn restart_if_ended(&mut self) {
        if let Some(ended) = self.operator.ended(Duration::ZERO) {
            assert_eq!(ended.code(), Some(70), "{}", self.operator.log_text());
            self.ends += 1;
            self.operator = self.place.operator();
        }
    }

    async fn works_again(&mut self, what: &str) {
        let since = Instant::now();
        loop {
            self.restart_if_ended();
            // The server may still be on its way up.
            let found = self.place.api("ConfigMap").get_opt("demo-eu-west").await;
            if found.is_ok_and(|f| f.is_some()) {
                break;
            }
            assert!(since.elapsed() < Duration::from_mins(1), "{}", self.operator.log_text());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!(
            "{what}: mended {:?} after the server was back, the process ended {} times",
            since.elapsed(),
            self.ends
        );
    }
}

async fn begun<'a>(server: &'a ApiServer, place: &'a TestNamespace<'a>) -> Kept<'a> {
    let kept = Kept { place, operator: place.operator(), ends: 0 };
    place.demo(json!({})).await;
    place.until_started().await;
    assert!(server.kubectl(&["get", "--raw", "/readyz"]).ok);
    kept
}

/// The server hangs: connections stay open without answers. The leader can't renew its lease, so it must end before another replica can take it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_ends_the_leader_in_time() {
    let server = server_with(Some(definition())).await;
    let place = TestNamespace::on(&server, "hanging").await;
    let mut kept = begun(&server, &place).await;
    let process = server.process("kube-apiserver");
    kill_process(process, Signal::STOP).unwrap();
    let since = Instant::now();
    let ended = kept.operator.ended(Duration::from_secs(15));
    let took = since.elapsed();
    let ended = ended.unwrap_or_else(|| {
        kill_process(process, Signal::CONT).unwrap();
        panic!("it did not give up: {}", kept.operator.log_text())
    });
    assert_eq!(ended.code(), Some(70), "{}", kept.operator.log_text());
    assert!(
        kept.operator.log_text().contains("lease"),
        "the log does not name the lease: {}",
        kept.operator.log_text()
    );
    println!("gave up after {took:?}");
    // The next operator waits, reports that it is not ready, and still stops on request.
    kept.operator = place.operator();
    let live = async || kept.operator.ask("/livez").filter(|(code, _)| *code == 200).ok_or("no answer");
    place.eventually("a live operator", 20, live).await;
    assert_eq!(kept.operator.ask("/readyz").map(|(code, _)| code), Some(503));
    kept.operator.signal(Signal::TERM);
    let stopped = kept.operator.ended(Duration::from_secs(5));
    kept.operator = place.operator();
    tokio::time::sleep(Duration::from_secs(5)).await; // no condition to wait for: it must not end in this time
    let alive = kept.operator.ended(Duration::ZERO).is_none();
    kill_process(process, Signal::CONT).unwrap();
    assert_eq!(stopped.and_then(|s| s.code()), Some(0), "it stops while it waits");
    assert!(alive, "no loop of ends: {}", kept.operator.log_text());
    place
        .eventually("an answer", 60, async || {
            place.api("ConfigMap").delete("demo-eu-west", &kube::api::DeleteParams::default()).await.map(drop)
        })
        .await;
    kept.works_again("hanging server").await;
    assert_eq!(kept.ends, 0);
}

/// The absence is shorter than the leader's deadline.
#[tokio::test(flavor = "multi_thread")]
async fn the_operator_outlasts_a_short_absence_of_the_server() {
    let server = server_with(Some(definition())).await;
    let place = TestNamespace::on(&server, "short").await;
    let mut kept = begun(&server, &place).await;
    let process = server.process("kube-apiserver");
    kill_process(process, Signal::STOP).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    kill_process(process, Signal::CONT).unwrap();
    place
        .eventually("an answer", 60, async || {
            place.api("ConfigMap").delete("demo-eu-west", &kube::api::DeleteParams::default()).await.map(drop)
        })
        .await;
    kept.works_again("short absence").await;
    assert_eq!(kept.ends, 0, "{}", kept.operator.log_text());
}

/// Ends its process when it is dropped or when the test is killed.
struct Replacement {
    server: Child,
    guardian: Child,
}

impl Drop for Replacement {
    fn drop(&mut self) {
        let _ended = (self.server.kill(), self.guardian.kill());
        let _ended = (self.server.wait(), self.guardian.wait());
    }
}

/// The server is killed, and another starts later on the same data. Connections are refused meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_replaced_is_found_again() {
    let server = server_with(Some(definition())).await;
    let place = TestNamespace::on(&server, "replaced").await;
    let mut kept = begun(&server, &place).await;
    let process = server.process("kube-apiserver");
    let line = std::fs::read_to_string(format!("/proc/{}/cmdline", process.as_raw_nonzero())).unwrap();
    let words: Vec<&str> = line.trim_end_matches('\0').split('\0').collect();
    kill_process(process, Signal::KILL).unwrap();
    let gone = Instant::now() + Duration::from_secs(20);
    while Instant::now() < gone {
        kept.restart_if_ended();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(kept.ends <= 1, "no loop of ends: {}", kept.operator.log_text());
    let again = Command::new(words[0])
        .args(&words[1..])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let guardian = Command::new("sh")
        .args(["-c", "read -r _; kill -KILL \"$0\"", &again.id().to_string()])
        .process_group(0)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let _replacement = Replacement { server: again, guardian };
    place
        .eventually("an answer", 60, async || {
            place.api("ConfigMap").delete("demo-eu-west", &kube::api::DeleteParams::default()).await.map(drop)
        })
        .await;
    kept.works_again("replaced server").await;
    assert!(kept.ends <= 1, "{}", kept.operator.log_text());
}
