//! One run: the parts in order, bounded by the limit of the whole run. The results are written even if a part fails.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::accounts::Bench;
use crate::args::{Args, Extent, PARTS};
use crate::error::BenchError;
use crate::report::{Goal, Report};
use crate::stack::Stack;
use crate::{gap, idle, load, process, records, stream};

/// Every figure that has a goal. If a part did not measure it, the table lists it as not measured and its goal as not holding.
const GOALS: [(&str, &str, &str, Goal); 10] = [
    ("stream", "stream.encrypt.ratio", "of aws-lc", Goal::AtLeast(0.8)),
    ("stream", "stream.memory.1GiB", "MiB", Goal::AtMost(8.0)),
    ("recover", "recover.rate.128", "1/s", Goal::AtLeast(560.0)),
    ("recover", "recover.p50.1", "ms", Goal::AtMost(10.0)),
    ("recover", "recover.server_cpu.128", "ms CPU each", Goal::AtMost(2.2)),
    ("idle", "idle.vaults_and_chatd", "cores", Goal::AtMost(0.03)),
    ("gap", "gap.leader_killed", "s", Goal::AtMost(1.0)),
    ("gap", "gap.leader_hung", "s", Goal::AtMost(2.0)),
    ("records", "records.disk", "bytes each", Goal::AtMost(1536.0)),
    ("records", "records.memory", "bytes each", Goal::AtMost(200.0)),
];

/// Measures. Returns true if every goal holds.
pub(crate) fn run(args: &Args) -> Result<bool, BenchError> {
    if let Some(part) = args.unknown_part() {
        return Err(BenchError::Part(part.to_owned()));
    }
    let started = Instant::now();
    let mut report = Report::default();
    if args.wants("stream") {
        eprintln!("stream …");
        stream::stream(&mut report)?; // before the fleet starts, so that the stream has all cores to itself
    }
    let ended = if PARTS.iter().any(|p| *p != "stream" && args.wants(p)) {
        if !cfg!(feature = "identity-ksf") {
            return Err(BenchError::Stretching);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(BenchError::file("the async runtime"))?;
        runtime.block_on(fleet(args, started, &mut report))
    } else {
        Ok(())
    };
    for (_, name, unit, goal) in GOALS.into_iter().filter(|(part, ..)| args.wants(part)) {
        report.require(name, unit, goal);
    }
    write(&args.output, &report)?;
    println!("{}", report.table().trim_end());
    println!("results: {}", args.output.display());
    ended.map(|()| report.holds())
}

/// Runs the parts that need a fleet. A signal ends it like an error: the fleet is stopped and its folder removed.
async fn fleet(args: &Args, started: Instant, report: &mut Report) -> Result<(), BenchError> {
    let bin_dir = args.bin_dir.clone().unwrap_or_else(beside);
    eprintln!("fleet …");
    let stack = tokio::task::block_in_place(|| Stack::up(&bin_dir, args.work.as_deref(), &args.network()))?;
    eprintln!("  in {}, on {}", stack.dir().display(), process::file_system(&stack.dir()));
    let bench = Arc::new(Bench::new(stack)?);
    let mut ask = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(BenchError::file("signals"))?;
    let limit = args.extent().limit.saturating_sub(started.elapsed());
    tokio::select! {
        () = parts(args, &bench, args.extent(), report) => Ok(()),
        () = tokio::time::sleep(limit) => {
            eprintln!("bkv-bench: the limit of {} s is reached, and the rest is not measured", args.extent().limit.as_secs());
            Ok(())
        }
        _ = tokio::signal::ctrl_c() => Err(BenchError::Interrupted),
        _ = ask.recv() => Err(BenchError::Interrupted),
    }
}

/// Reports a part that fails and goes on with the next part.
async fn parts(args: &Args, bench: &Arc<Bench>, extent: Extent, report: &mut Report) {
    // `gap` restarts regions and `records` leaves many records, so they come last.
    for part in PARTS.into_iter().filter(|p| *p != "stream" && args.wants(p)) {
        eprintln!("{part} …");
        let done = match part {
            "register" => load::registrations(bench, extent.load, report).await,
            "recover" => load::recoveries(bench, (extent.warm, extent.load), report).await,
            "idle" => idle::idle(bench, extent.idle, report).await,
            "gap" => gap::gaps(bench, extent.repetitions, report).await,
            _ => records::records(bench, extent.records, extent.filling, report).await,
        };
        if let Err(e) = done {
            eprintln!("bkv-bench: {part}: {e}");
        }
    }
}

fn beside() -> PathBuf {
    std::env::current_exe().ok().and_then(|p| p.parent().map(Path::to_owned)).unwrap_or_default()
}

/// Writes a new file and renames it, so that no reader sees half a file.
fn write(path: &Path, report: &Report) -> Result<(), BenchError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(BenchError::file(folder))?;
    }
    let new = path.with_extension("json.new");
    std::fs::write(&new, report.json() + "\n").map_err(BenchError::file(&new))?;
    std::fs::rename(&new, path).map_err(BenchError::file(path))
}
