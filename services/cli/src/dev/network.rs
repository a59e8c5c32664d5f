//! The network between the regions of a local fleet: one process in front of all vaults' peer addresses, which delays every byte as an ocean would.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bkv_net::{accept, until_signalled};
use rustix::process::Signal as SignalNumber;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::delay::{Delay, carry};
use super::layout::Layout;
use super::plan::NetworkPlan;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::signals::Handled;

/// The longest round trip that a local fleet can have.
const LONGEST_MS: u64 = 10_000;

/// Parses `250ms` or `1s`.
pub(crate) fn round_trip(text: &str) -> Result<Duration, String> {
    let number = |digits: &str| digits.parse::<u64>().ok();
    let ms = match text.strip_suffix("ms") {
        Some(digits) => number(digits),
        None => text.strip_suffix('s').and_then(number).and_then(|s| s.checked_mul(1000)),
    };
    let ms = ms.filter(|ms| (1..=LONGEST_MS).contains(ms));
    ms.map(Duration::from_millis).ok_or_else(|| "a time from 1ms to 10s, such as 250ms".into())
}

/// Parses `30%`.
pub(crate) fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok();
    number.filter(|percent| *percent <= 100).ok_or_else(|| "a share from 0% to 100%, such as 30%".into())
}

/// What the options ask for.
pub(crate) fn wished(round_trip: Option<Duration>, jitter: Option<u8>) -> Outcome<Option<NetworkPlan>> {
    match (round_trip, jitter) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Failure::new(Exit::Config, "--jitter without --round-trip")
            .remedy("Add --round-trip, such as --round-trip 250ms.")),
        (Some(time), jitter) => Ok(Some(NetworkPlan {
            round_trip_ms: u64::try_from(time.as_millis()).unwrap_or(LONGEST_MS),
            jitter_percent: jitter.unwrap_or(0),
        })),
    }
}

/// Starts the process, unless it runs already.
pub(crate) fn start(layout: &Layout) -> Outcome {
    let failed = |e: std::io::Error| Failure::new(Exit::CantCreate, format!("network: {e}"));
    fs::create_dir_all(layout.dir.join("network")).map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(["dev", "network", "--dir"]).arg(&layout.dir);
    layout.network_process().start(command)
}

/// The process: carries connections until SIGTERM.
pub(crate) async fn run(layout: &Layout) -> Outcome {
    let Some(plan) = layout.plan.network else {
        return Err(undelayed());
    };
    let _handled = Handled::new();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let (set, delay) = watch::channel(of(plan));
    let failed = |e: std::io::Error| Failure::new(Exit::Unexpected, format!("network: {e}"));
    for region in &layout.plan.regions {
        let Some(port) = region.network else { continue };
        let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(failed)?;
        let (target, delay) = (region.peer, delay.clone());
        let serve = move |(near, _)| {
            let delay = delay.clone();
            Some(async move {
                // It ends with the connection, and a vault that is away refuses it.
                let _ = connect(near, target, delay).await;
            })
        };
        tasks.spawn(accept(listener, stop.clone(), tasks.clone(), serve));
    }
    let hangup = signal(SignalKind::hangup()).map_err(failed)?;
    tasks.spawn(stop.clone().run_until_cancelled_owned(follow_plan(layout.dir.clone(), hangup, set)));
    until_signalled(&stop, stop.cancelled()).await.map_err(failed)?;
    tasks.close();
    tasks.wait().await;
    Ok(())
}

fn of(plan: NetworkPlan) -> Delay {
    Delay::of_round_trip(Duration::from_millis(plan.round_trip_ms), plan.jitter_percent)
}

/// At each SIGHUP it reads the plan again, and its delays hold from then on.
async fn follow_plan(dir: PathBuf, mut hangup: Signal, set: watch::Sender<Delay>) {
    while hangup.recv().await.is_some() {
        match Layout::open(&dir).map(|layout| layout.plan.network) {
            Ok(Some(plan)) => {
                eprintln!("network: {plan}");
                set.send_replace(of(plan));
            }
            Ok(None) => {}
            Err(e) => eprintln!("network: the delays stay as they were: {e}"),
        }
    }
}

/// `bkv dev round-trip`: other delays for a fleet that was made with some.
pub(crate) fn change(out: Output, mut layout: Layout, round_trip: Duration, jitter: Option<u8>) -> Outcome {
    let Some(before) = layout.plan.network else { return Err(undelayed()) };
    let jitter = jitter.unwrap_or(before.jitter_percent);
    let Some(plan) = wished(Some(round_trip), Some(jitter))? else { return Err(undelayed()) };
    let most = layout.plan.max_round_trip_ms;
    if plan.longest_ms() > most {
        let what = format!("{plan}: the vaults of this fleet reckon with at most {most} ms");
        return Err(Failure::new(Exit::Config, what).remedy(
            "Choose less, or make another fleet with --round-trip in a folder of its own, with --dir.",
        ));
    }
    layout.plan.network = Some(plan);
    layout.save()?;
    let running = layout.network_process().signal(SignalNumber::HUP)?;
    let when = if running { "from now on" } else { "from the next `bkv dev up` on" };
    out.result(
        &format!("Between the regions: {plan}, {when}"),
        facts([("network", serde_json::json!(plan)), ("running", running.into())]),
    )
}

fn undelayed() -> Failure {
    Failure::new(Exit::Config, "this fleet was made without --round-trip")
        .remedy("Make another fleet in a folder of its own, with --dir and --round-trip.")
}

async fn connect(near: TcpStream, target: u16, delay: watch::Receiver<Delay>) -> std::io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", target)).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    carry(near, far, delay).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shares_are_read_and_bad_ones_are_refused() {
        assert_eq!(round_trip("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(round_trip("1s"), Ok(Duration::from_secs(1)));
        for bad in ["", "250", "0ms", "11s", "-1ms", "18446744073709551615s"] {
            assert!(round_trip(bad).is_err(), "{bad}");
        }
        assert_eq!((percent("30%"), percent("0")), (Ok(30), Ok(0)));
        for bad in ["", "101%", "x%", "%"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn jitter_needs_a_round_trip() {
        assert_eq!(wished(None, None).unwrap(), None);
        assert!(wished(None, Some(30)).unwrap_err().message.contains("--round-trip"));
        let plan = wished(Some(Duration::from_millis(250)), Some(30)).unwrap().unwrap();
        assert_eq!(plan.to_string(), "round trip 250 ms, jitter 30 %");
    }
}
