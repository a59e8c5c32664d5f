//! How long a client waits when the leader of its shard dies or hangs: loops of recoveries with small pauses, the leader known from its receipts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, block_in_place};

use crate::accounts::{Account, World};
use crate::error::BenchError;
use crate::load;
use crate::report::{Goal, Report};
use crate::stats::longest_gap;

const ACCOUNTS: usize = 12;
const PAUSE: Duration = Duration::from_millis(10);
/// Loops run this long before the leader is hurt.
const BEFORE: Duration = Duration::from_secs(2);
/// And this long after. A recovery that is under way then is waited for, so a longer gap is seen too.
const AFTER: Duration = Duration::from_secs(5);
/// For a region to come back.
const HEALED: Duration = Duration::from_secs(20);

/// Kills, then pauses, the leader, several times each; the longest counts.
pub(crate) async fn gaps(
    world: &Arc<World>,
    repetitions: usize,
    report: &mut Report,
) -> Result<(), BenchError> {
    let until = Instant::now() + Duration::from_secs(30);
    let (accounts, seen) = load::register(world, "gap", ACCOUNTS, 4, until, true).await?;
    seen.tell("gap.accounts", report);
    let goals = [("kill", "start", "gap.leader_killed", 1.0), ("pause", "resume", "gap.leader_hung", 2.0)];
    for (hurt, heal, name, goal) in goals {
        let mut longest: Option<Duration> = None;
        for _ in 0..repetitions {
            let (region, led) = most_led(&accounts).await?;
            let gap = once(world, &led, hurt, &region).await?;
            eprintln!("  {name}: {region}, {} accounts, {gap:?}", led.len());
            longest = longest.max(gap);
            block_in_place(|| {
                world.stack.region(heal, &region)?;
                world.stack.wait_ready(3, HEALED)
            })?;
        }
        report.add(name, longest.map(|g| g.as_secs_f64()), "s", Goal::AtMost(goal));
    }
    Ok(())
}

/// The region that leads for most of the accounts, by its own receipts, and those accounts.
async fn most_led(accounts: &[Account]) -> Result<(String, Vec<Account>), BenchError> {
    let mut led: HashMap<String, Vec<Account>> = HashMap::new();
    for account in accounts {
        let region = account.recover().await?.receipt.region;
        led.entry(region).or_default().push(account.clone());
    }
    Ok(led.into_iter().max_by_key(|(_, accounts)| accounts.len()).unwrap_or_default())
}

/// One blow: the longest gap of any of the accounts.
async fn once(
    world: &Arc<World>,
    accounts: &[Account],
    hurt: &str,
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
    let hurting = block_in_place(|| world.stack.region(hurt, region));
    let mut longest = None;
    while let Some(gap) = tasks.join_next().await {
        longest = gap?.max(longest);
    }
    hurting.map(|()| longest)
}
