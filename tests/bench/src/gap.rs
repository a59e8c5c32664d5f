//! How long a client waits when the leader of its shard dies or hangs. Loops of recoveries run with small pauses, and their receipts name the leader.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, block_in_place};

use crate::accounts::{Account, Bench};
use crate::error::BenchError;
use crate::load;
use crate::report::{Goal, Report};
use crate::stats::longest_gap;

const ACCOUNTS: usize = 12;
const PAUSE: Duration = Duration::from_millis(10);
/// The loops run this long before the fault.
const BEFORE: Duration = Duration::from_secs(2);
/// The loops run this long after the fault. They still finish a recovery that is under way, so a longer gap is measured too.
const AFTER: Duration = Duration::from_secs(5);
/// Longest time for a region to be ready again.
const HEALED: Duration = Duration::from_secs(20);

/// Kills the leader several times, then pauses it several times. Reports the longest gap of each kind.
pub(crate) async fn gaps(
    bench: &Arc<Bench>,
    repetitions: usize,
    report: &mut Report,
) -> Result<(), BenchError> {
    let until = Instant::now() + Duration::from_secs(30);
    let (accounts, result) = load::register(bench, "gap", ACCOUNTS, 4, until, true).await?;
    result.report_failures("gap.accounts", report);
    let goals = [("kill", "start", "gap.leader_killed", 1.0), ("pause", "resume", "gap.leader_hung", 2.0)];
    for (fault, heal, name, goal) in goals {
        let mut longest: Option<Duration> = None;
        for _ in 0..repetitions {
            let (region, led) = most_led(&accounts).await?;
            let gap = once(bench, &led, fault, &region).await?;
            eprintln!("  {name}: {region}, {} accounts, {gap:?}", led.len());
            longest = longest.max(gap);
            block_in_place(|| {
                bench.stack.region(heal, &region)?;
                bench.stack.wait_ready(3, HEALED)
            })?;
        }
        report.add(name, longest.map(|g| g.as_secs_f64()), "s", Goal::AtMost(goal));
    }
    Ok(())
}

/// The region that leads for most of the accounts, by its receipts, and those accounts.
async fn most_led(accounts: &[Account]) -> Result<(String, Vec<Account>), BenchError> {
    let mut led: HashMap<String, Vec<Account>> = HashMap::new();
    for account in accounts {
        let region = account.recover().await?.receipt.region;
        led.entry(region).or_default().push(account.clone());
    }
    Ok(led.into_iter().max_by_key(|(_, accounts)| accounts.len()).unwrap_or_default())
}

/// Injects one fault and returns the longest gap of any of the accounts.
async fn once(
    bench: &Arc<Bench>,
    accounts: &[Account],
    fault: &str,
    region: &str,
) -> Result<Option<Duration>, BenchError> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for account in accounts {
        let account = account.clone();
        tasks.spawn(async move {
            let mut moments = Vec::new();
            while start.elapsed() < BEFORE + AFTER {
                if account.recover().await.is_ok() {
                    moments.push(start.elapsed());
                }
                tokio::time::sleep(PAUSE).await;
            }
            // A client that never succeeds again counts as waiting until the end.
            moments.push(start.elapsed());
            longest_gap(&moments)
        });
    }
    tokio::time::sleep(BEFORE).await;
    let injected = block_in_place(|| bench.stack.region(fault, region));
    let mut longest = None;
    while let Some(gap) = tasks.join_next().await {
        longest = gap?.max(longest);
    }
    injected.map(|()| longest)
}
