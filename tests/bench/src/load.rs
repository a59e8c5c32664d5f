//! Closed loops: so many in flight, each on its own account, for so long.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::accounts::{Account, World};
use crate::error::BenchError;
use crate::process;
use crate::report::{Goal, Report};
use crate::stats::{each, millis, percentile, rate};

/// The results of a load.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub times: Vec<Duration>,
    pub failures: HashMap<String, usize>,
    pub lasted: Duration,
}

impl Seen {
    fn fold(&mut self, other: Self) {
        self.times.extend(other.times);
        for (why, count) in other.failures {
            *self.failures.entry(why).or_default() += count;
        }
    }

    /// Reports the number of failures as a row whose goal is zero, and logs each reason.
    pub(crate) fn tell(&self, name: &str, report: &mut Report) {
        let failed: usize = self.failures.values().sum();
        if failed > 0 {
            #[allow(clippy::cast_precision_loss)]
            report.add(format!("{name}.failed"), Some(failed as f64), "", Goal::AtMost(0.0));
            for (why, count) in &self.failures {
                eprintln!("  {name}: {count} × {why}");
            }
        }
    }
}

/// Runs `work` on each account again and again until `time` is over; what is under way then is waited for and not counted.
pub(crate) async fn closed_loop<W, F>(
    accounts: &[Account],
    time: Duration,
    work: W,
) -> Result<Seen, BenchError>
where
    W: Fn(Account) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), bkv_client::Error>> + Send,
{
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for account in accounts {
        let account = account.clone();
        let work = work.clone();
        tasks.spawn(async move {
            let mut seen = Seen::default();
            while start.elapsed() < time {
                let began = Instant::now();
                let done = work(account.clone()).await;
                match done {
                    Ok(()) if start.elapsed() <= time => seen.times.push(began.elapsed()),
                    Ok(()) => {}
                    Err(e) => *seen.failures.entry(e.to_string()).or_default() += 1,
                }
            }
            seen
        });
    }
    let mut all = Seen { lasted: time, ..Seen::default() };
    while let Some(seen) = tasks.join_next().await {
        all.fold(seen?);
    }
    Ok(all)
}

/// Registers `count` new accounts, `flight` at a time, until `until`; those that are there if they are to be kept (each holds a connection, and there are
/// not descriptors for very many), and the time of each.
pub(crate) async fn register(
    world: &Arc<World>,
    prefix: &str,
    count: usize,
    flight: usize,
    until: Instant,
    keep: bool,
) -> Result<(Vec<Account>, Seen), BenchError> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..flight {
        let (world, next, prefix) = (world.clone(), next.clone(), prefix.to_owned());
        tasks.spawn(async move {
            let (mut made, mut seen) = (Vec::new(), Seen::default());
            while Instant::now() < until {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    break;
                }
                let account = world.account(&format!("{prefix}-{number}")).await?;
                let began = Instant::now();
                match account.register().await {
                    Ok(_) => {
                        seen.times.push(began.elapsed());
                        if keep {
                            made.push(account);
                        }
                    }
                    Err(e) => *seen.failures.entry(e.to_string()).or_default() += 1,
                }
            }
            Ok::<_, BenchError>((made, seen))
        });
    }
    let start = Instant::now();
    let (mut accounts, mut all) = (Vec::new(), Seen::default());
    while let Some(done) = tasks.join_next().await {
        let (made, seen) = done??;
        accounts.extend(made);
        all.fold(seen);
    }
    all.lasted = start.elapsed();
    Ok((accounts, all))
}

/// Registrations per second at 16, outer connections opened before the clock starts.
pub(crate) async fn registrations(
    world: &Arc<World>,
    time: Duration,
    report: &mut Report,
) -> Result<(), BenchError> {
    const FLIGHT: usize = 16;
    let mut waiting = Vec::new();
    // Enough for 400/s; running out ends the measurement early and is no error.
    let enough = usize::try_from(time.as_millis() * 4 / 10).unwrap_or(usize::MAX);
    for number in 0..enough {
        waiting.push(world.account(&format!("register-{number}")).await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let waiting = Arc::new(waiting);
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..FLIGHT {
        let (waiting, next) = (waiting.clone(), next.clone());
        tasks.spawn(async move {
            let mut seen = Seen::default();
            while start.elapsed() < time {
                let Some(account) = waiting.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                let began = Instant::now();
                match account.register().await {
                    Ok(_) => seen.times.push(began.elapsed()),
                    Err(e) => *seen.failures.entry(e.to_string()).or_default() += 1,
                }
            }
            seen
        });
    }
    let mut seen = Seen::default();
    while let Some(one) = tasks.join_next().await {
        seen.fold(one?);
    }
    seen.lasted = start.elapsed();
    let p50 = percentile(&mut seen.times, 50).map(millis);
    report.add("register.rate.16", rate(seen.times.len(), seen.lasted), "1/s", Goal::None);
    report.add("register.p50.16", p50, "ms", Goal::None);
    report.add("register.p99.16", percentile(&mut seen.times, 99).map(millis), "ms", Goal::None);
    seen.tell("register.16", report);
    Ok(())
}

/// Recoveries per second at 1, 16, 64 and 128 in flight, and what one costs the servers.
pub(crate) async fn recoveries(
    world: &Arc<World>,
    (warm, time): (Duration, Duration),
    report: &mut Report,
) -> Result<(), BenchError> {
    let until = Instant::now() + Duration::from_mins(1);
    let (accounts, seen) = register(world, "recover", 128, 16, until, true).await?;
    seen.tell("recover.accounts", report);
    let recover = |a: Account| async move { a.recover().await.map(drop) };
    for flight in [1_usize, 16, 64, 128] {
        let some = accounts.get(..flight).unwrap_or(&accounts);
        closed_loop(some, warm, recover).await?;
        let pids = world.stack.pids().counted();
        let before = process::cpu_all(&pids);
        let mut seen = closed_loop(some, time, recover).await?;
        let spent = process::cpu_all(&pids).saturating_sub(before);
        let done = seen.times.len();
        let (fast, quick) = match flight {
            1 => (Goal::None, Goal::AtMost(10.0)),
            128 => (Goal::AtLeast(500.0), Goal::None),
            _ => (Goal::None, Goal::None),
        };
        report.add(format!("recover.rate.{flight}"), rate(done, seen.lasted), "1/s", fast);
        report.add(format!("recover.p50.{flight}"), percentile(&mut seen.times, 50).map(millis), "ms", quick);
        report.add(
            format!("recover.p99.{flight}"),
            percentile(&mut seen.times, 99).map(millis),
            "ms",
            Goal::None,
        );
        if flight == 128 {
            let cpu = each(millis(spent), done);
            report.add("recover.server_cpu.128", cpu, "ms CPU each", Goal::AtMost(2.0));
        }
        seen.tell(&format!("recover.{flight}"), report);
    }
    let one = accounts.get(..1).unwrap_or(&accounts);
    let at_once = |a: Account| async move { a.recover_at_once().await.map(drop) };
    let mut seen = closed_loop(one, time / 2, at_once).await?;
    report.add("recover.p50.1.begin_unseen", percentile(&mut seen.times, 50).map(millis), "ms", Goal::None);
    seen.tell("recover.1.begin_unseen", report);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_make_a_row_that_does_not_hold() {
        let mut report = Report::default();
        let mut seen = Seen::default();
        seen.tell("x", &mut report);
        assert!(report.holds());
        seen.fold(Seen { failures: HashMap::from([("no".to_owned(), 2)]), ..Seen::default() });
        seen.fold(Seen { failures: HashMap::from([("no".to_owned(), 1)]), ..Seen::default() });
        assert_eq!(seen.failures.get("no"), Some(&3));
        seen.tell("x", &mut report);
        assert!(!report.holds());
    }
}
