//! The CPU cost of an idle fleet: heartbeats, timers, polls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::accounts::Bench;
use crate::error::BenchError;
use crate::process;
use crate::report::{Goal, Report};

/// Measures CPU in cores while nothing happens. It first waits for the work that earlier loads left, such as log purges and open streams.
pub(crate) async fn idle(bench: &Arc<Bench>, time: Duration, report: &mut Report) -> Result<(), BenchError> {
    tokio::time::sleep(time / 4).await;
    let pids = bench.stack.pids();
    let counted = pids.counted();
    let parts = [
        ("idle.vaults", pids.vaults, Goal::None),
        ("idle.chatd", pids.chatd, Goal::None),
        ("idle.vaults_and_chatd", counted, Goal::AtMost(0.03)),
        ("idle.postgres", pids.beside, Goal::None),
    ];
    let before = parts.each_ref().map(|(_, pids, _)| process::cpu_all(pids));
    let start = Instant::now();
    tokio::time::sleep(time).await;
    let lasted = start.elapsed().as_secs_f64();
    for ((name, pids, goal), before) in parts.into_iter().zip(before) {
        let spent = process::cpu_all(&pids).saturating_sub(before).as_secs_f64();
        // Without a process the figure is missing. It must not be reported as zero.
        report.add(name, Some(spent / lasted).filter(|_| !pids.is_empty()), "cores", goal);
    }
    Ok(())
}
