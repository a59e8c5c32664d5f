//! The size of a record on disk and in memory, and the start-up time of a vault with many records. Each record is an account registered through ChatD
//! and Raft, so the disk contains only what a real fleet would have.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::block_in_place;

use crate::accounts::Bench;
use crate::error::BenchError;
use crate::load;
use crate::process;
use crate::report::{Goal, Report};
use crate::stack::Stack;
use crate::stats::{each, rate};

/// Registrations in flight while the fleet is filled.
const FLIGHT: usize = 32;
/// After this time logs are purged and pages written.
const SETTLE: Duration = Duration::from_secs(3);
/// Longest start-up time of a full vault.
const START: Duration = Duration::from_mins(1);

/// Memory and disk of one region.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    disk: u64,
    memory: Option<u64>,
}

fn footprint(stack: &Stack, region: &str) -> Footprint {
    let folder = stack.region_dir(region);
    Footprint { disk: process::disk(&folder), memory: Stack::pid(&folder).and_then(process::memory) }
}

/// Stops a region and starts it again. Returns the time until all regions are ready.
fn restart(bench: &Bench, region: &str) -> Result<Duration, BenchError> {
    block_in_place(|| {
        bench.stack.region("stop", region)?;
        let start = Instant::now();
        bench.stack.region("start", region)?;
        bench.stack.wait_ready(3, START)?;
        Ok(start.elapsed())
    })
}

/// Fills the fleet and measures a region before and after, each time just after a start. That keeps the size of the records apart from caches, which fill
/// once and stay as large.
pub(crate) async fn records(
    bench: &Arc<Bench>,
    count: usize,
    filling: Duration,
    report: &mut Report,
) -> Result<(), BenchError> {
    let Some(region) = bench.stack.regions().into_iter().next() else { return Ok(()) };
    // The programs allocate their own buffers before the first record is counted.
    load::register(bench, "warm", 50, FLIGHT, Instant::now() + filling, false).await?;
    restart(bench, &region)?;
    tokio::time::sleep(SETTLE).await;
    let before = footprint(&bench.stack, &region);
    let (_, result) = load::register(bench, "record", count, FLIGHT, Instant::now() + filling, false).await?;
    let made = result.times.len();
    tokio::time::sleep(SETTLE).await;
    let filled = footprint(&bench.stack, &region);
    let took = restart(bench, &region)?;
    tokio::time::sleep(SETTLE).await;
    let after = footprint(&bench.stack, &region);
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let grown = |later: Footprint| {
        let memory = later.memory.zip(before.memory).map(|(a, b)| a.saturating_sub(b) as f64);
        (later.disk.saturating_sub(before.disk) as f64, memory)
    };
    let (disk, memory) = grown(after);
    #[allow(clippy::cast_precision_loss)]
    report.add("records.count", Some(made as f64), "", Goal::None);
    report.add("records.filled", rate(made, result.lasted), "1/s", Goal::None);
    report.add("records.disk", each(disk, made), "bytes each", Goal::AtMost(1536.0));
    report.add("records.memory", memory.and_then(|m| each(m, made)), "bytes each", Goal::AtMost(200.0));
    let mebi = f64::from(1 << 20);
    report.add("records.caches_filled", grown(filled).1.map(|m| m / mebi), "MiB more", Goal::None);
    result.report_failures("records", report);
    report.add("records.start_up", Some(took.as_secs_f64()), "s", Goal::None);
    #[allow(clippy::cast_precision_loss)]
    let whole = after.memory.map(|m| m as f64 / mebi);
    report.add("records.memory_after_start", whole, "MiB in all", Goal::None);
    Ok(())
}
