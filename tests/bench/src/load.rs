//! Closed loops: a number of requests in flight, each on its own account, for some time.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::accounts::{Account, Bench};
use crate::error::BenchError;
use crate::process;
use crate::report::{Goal, Report};
use crate::stats::{each, millis, percentile, rate};

/// The results of a load.
#[derive(Debug, Default)]
pub(crate) struct LoadResult {
    pub times: Vec<Duration>,
    pub failures: HashMap<String, usize>,
    pub lasted: Duration,
}

impl LoadResult {
    fn fold(&mut self, other: Self) {
        self.times.extend(other.times);
        for (why, count) in other.failures {
            *self.failures.entry(why).or_default() += count;
        }
    }

    /// Reports the number of failures as a row whose goal is zero, and logs each reason.
    pub(crate) fn report_failures(&self, name: &str, report: &mut Report) {
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

/// Runs `work` on each account again and again until `time` is over. It finishes the work that is under way then, and does not count it.
pub(crate) async fn closed_loop<W, F>(
    accounts: &[Account],
    time: Duration,
    work: W,
) -> Result<LoadResult, BenchError>
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
            let mut result = LoadResult::default();
            while start.elapsed() < time {
                let began = Instant::now();
                let done = work(account.clone()).await;
                match done {
                    Ok(()) if start.elapsed() <= time => result.times.push(began.elapsed()),
                    Ok(()) => {}
                    Err(e) => *result.failures.entry(e.to_string()).or_default() += 1,
                }
            }
            result
        });
    }
    let mut all = LoadResult { lasted: time, ..LoadResult::default() };
    while let Some(result) = tasks.join_next().await {
        all.fold(result?);
    }
    Ok(all)
}

/// Registers up to `count` new accounts, `flight` at a time, until `until`. Returns the time of each, and the accounts if `keep` is set: each holds a
/// connection, and there are not enough descriptors for very many.
pub(crate) async fn register(
    bench: &Arc<Bench>,
    prefix: &str,
    count: usize,
    flight: usize,
    until: Instant,
    keep: bool,
) -> Result<(Vec<Account>, LoadResult), BenchError> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..flight {
        let (bench, next, prefix) = (bench.clone(), next.clone(), prefix.to_owned());
        tasks.spawn(async move {
            let (mut made, mut result) = (Vec::new(), LoadResult::default());
            while Instant::now() < until {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    break;
                }
                let account = bench.account(&format!("{prefix}-{number}")).await?;
                let began = Instant::now();
                match account.register().await {
                    Ok(_) => {
                        result.times.push(began.elapsed());
                        if keep {
                            made.push(account);
                        }
                    }
                    Err(e) => *result.failures.entry(e.to_string()).or_default() += 1,
                }
            }
            Ok::<_, BenchError>((made, result))
        });
    }
    let start = Instant::now();
    let (mut accounts, mut all) = (Vec::new(), LoadResult::default());
    while let Some(done) = tasks.join_next().await {
        let (made, result) = done??;
        accounts.extend(made);
        all.fold(result);
    }
    all.lasted = start.elapsed();
    Ok((accounts, all))
}

/// Measures registrations per second with 16 in flight. The outer connections are opened before the clock starts.
pub(crate) async fn registrations(
    bench: &Arc<Bench>,
    time: Duration,
    report: &mut Report,
) -> Result<(), BenchError> {
    const FLIGHT: usize = 16;
    let mut waiting = Vec::new();
    // Enough for 400/s. A faster fleet ends the measurement early, which is no error.
    let enough = usize::try_from(time.as_millis() * 4 / 10).unwrap_or(usize::MAX);
    for number in 0..enough {
        waiting.push(bench.account(&format!("register-{number}")).await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let waiting = Arc::new(waiting);
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..FLIGHT {
        let (waiting, next) = (waiting.clone(), next.clone());
        tasks.spawn(async move {
            let mut result = LoadResult::default();
            while start.elapsed() < time {
                let Some(account) = waiting.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                let began = Instant::now();
                match account.register().await {
                    Ok(_) => result.times.push(began.elapsed()),
                    Err(e) => *result.failures.entry(e.to_string()).or_default() += 1,
                }
            }
            result
        });
    }
    let mut result = LoadResult::default();
    while let Some(one) = tasks.join_next().await {
        result.fold(one?);
    }
    result.lasted = start.elapsed();
    let p50 = percentile(&mut result.times, 50).map(millis);
    report.add("register.rate.16", rate(result.times.len(), result.lasted), "1/s", Goal::None);
    report.add("register.p50.16", p50, "ms", Goal::None);
    report.add("register.p99.16", percentile(&mut result.times, 99).map(millis), "ms", Goal::None);
    result.report_failures("register.16", report);
    Ok(())
}

/// Measures recoveries per second with 1, 16, 64 and 128 in flight, and the servers' CPU for one.
pub(crate) async fn recoveries(
    bench: &Arc<Bench>,
    (warm, time): (Duration, Duration),
    report: &mut Report,
) -> Result<(), BenchError> {
    let until = Instant::now() + Duration::from_mins(1);
    let (accounts, result) = register(bench, "recover", 128, 16, until, true).await?;
    result.report_failures("recover.accounts", report);
    let recover = |a: Account| async move { a.recover().await.map(drop) };
    for flight in [1_usize, 16, 64, 128] {
        let some = accounts.get(..flight).unwrap_or(&accounts);
        closed_loop(some, warm, recover).await?;
        let pids = bench.stack.pids().counted();
        let before = process::cpu_all(&pids);
        let mut result = closed_loop(some, time, recover).await?;
        let spent = process::cpu_all(&pids).saturating_sub(before);
        let done = result.times.len();
        let (fast, quick) = match flight {
            1 => (Goal::None, Goal::AtMost(10.0)),
            128 => (Goal::AtLeast(560.0), Goal::None),
            _ => (Goal::None, Goal::None),
        };
        report.add(format!("recover.rate.{flight}"), rate(done, result.lasted), "1/s", fast);
        report.add(
            format!("recover.p50.{flight}"),
            percentile(&mut result.times, 50).map(millis),
            "ms",
            quick,
        );
        report.add(
            format!("recover.p99.{flight}"),
            percentile(&mut result.times, 99).map(millis),
            "ms",
            Goal::None,
        );
        if flight == 128 {
            let cpu = each(millis(spent), done);
            report.add("recover.server_cpu.128", cpu, "ms CPU each", Goal::AtMost(2.2));
        }
        result.report_failures(&format!("recover.{flight}"), report);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_make_a_row_that_does_not_hold() {
        let mut report = Report::default();
        let mut result = LoadResult::default();
        result.report_failures("x", &mut report);
        assert!(report.holds());
        result.fold(LoadResult { failures: HashMap::from([("no".to_owned(), 2)]), ..LoadResult::default() });
        result.fold(LoadResult { failures: HashMap::from([("no".to_owned(), 1)]), ..LoadResult::default() });
        assert_eq!(result.failures.get("no"), Some(&3));
        result.report_failures("x", &mut report);
        assert!(!report.holds());
    }
}
