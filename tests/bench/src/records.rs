//! What a record costs on disk and in memory, and how long a vault with many takes to start. Each record is an account
//! registered through ChatD and Raft, so the disk contains only what a real fleet would have.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::block_in_place;

use crate::accounts::World;
use crate::error::BenchError;
use crate::load;
use crate::process;
use crate::report::{Goal, Report};
use crate::stack::Stack;
use crate::stats::{each, rate};

/// In flight while filling.
const FLIGHT: usize = 32;
/// After filling: logs are purged, pages written.
const SETTLE: Duration = Duration::from_secs(3);
/// For a full vault to start.
const START: Duration = Duration::from_mins(1);

/// Of one region.
#[derive(Debug, Clone, Copy)]
struct Weight {
    disk: u64,
    memory: Option<u64>,
}

fn weigh(stack: &Stack, region: &str) -> Weight {
    let folder = stack.region_dir(region);
    Weight { disk: process::disk(&folder), memory: Stack::pid(&folder).and_then(process::memory) }
}

/// Stops a region and starts it again. Returns the time until all regions are ready.
fn restart(world: &World, region: &str) -> Result<Duration, BenchError> {
    block_in_place(|| {
        world.stack.region("stop", region)?;
        let start = Instant::now();
        world.stack.region("start", region)?;
        world.stack.wait_ready(3, START)?;
        Ok(start.elapsed())
    })
}

/// Fills the fleet and weighs a region before and after, each time just started: so what records cost is not mixed up with caches that fill once and
/// stay as large as they are.
pub(crate) async fn records(
    world: &Arc<World>,
    count: usize,
    filling: Duration,
    report: &mut Report,
) -> Result<(), BenchError> {
    let Some(region) = world.stack.regions().into_iter().next() else { return Ok(()) };
    // Buffers of the programs themselves are there before the first record is counted.
    load::register(world, "warm", 50, FLIGHT, Instant::now() + filling, false).await?;
    restart(world, &region)?;
    tokio::time::sleep(SETTLE).await;
    let before = weigh(&world.stack, &region);
    let (_, seen) = load::register(world, "record", count, FLIGHT, Instant::now() + filling, false).await?;
    let made = seen.times.len();
    tokio::time::sleep(SETTLE).await;
    let filled = weigh(&world.stack, &region);
    let took = restart(world, &region)?;
    tokio::time::sleep(SETTLE).await;
    let after = weigh(&world.stack, &region);
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let grown = |later: Weight| {
        let memory = later.memory.zip(before.memory).map(|(a, b)| a.saturating_sub(b) as f64);
        (later.disk.saturating_sub(before.disk) as f64, memory)
    };
    let (disk, memory) = grown(after);
    #[allow(clippy::cast_precision_loss)]
    report.add("records.count", Some(made as f64), "", Goal::None);
    report.add("records.filled", rate(made, seen.lasted), "1/s", Goal::None);
    report.add("records.disk", each(disk, made), "bytes each", Goal::AtMost(1536.0));
    report.add("records.memory", memory.and_then(|m| each(m, made)), "bytes each", Goal::AtMost(200.0));
    let mebi = f64::from(1 << 20);
    report.add("records.caches_filled", grown(filled).1.map(|m| m / mebi), "MiB more", Goal::None);
    seen.tell("records", report);
    report.add("records.start_up", Some(took.as_secs_f64()), "s", Goal::None);
    #[allow(clippy::cast_precision_loss)]
    let whole = after.memory.map(|m| m as f64 / mebi);
    report.add("records.memory_after_start", whole, "MiB in all", Goal::None);
    Ok(())
}
