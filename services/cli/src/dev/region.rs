//! `bkv dev region`: what happens to one vault of a local fleet.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use rustix::process::Signal;

use super::layout::Layout;
use super::plan::RegionPlan;
use super::process::Process;
use super::{DevDir, PATIENCE, ports, up};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};

#[derive(Debug, Args)]
pub(crate) struct Region {
    /// Name of the region.
    pub region: String,
    #[command(flatten)]
    pub dir: DevDir,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegionCommand {
    /// Send SIGTERM. The vault steps down first.
    Stop(Region),
    /// Send SIGKILL.
    Kill(Region),
    /// Send SIGSTOP. The vault hangs.
    Pause(Region),
    /// Send SIGCONT.
    Resume(Region),
    /// Start the vault again.
    Start(Region),
}

/// What the command did.
struct Done {
    verb: &'static str,
    /// False if the region was like that already.
    changed: bool,
}

pub(super) fn run(out: Output, command: &RegionCommand) -> Outcome {
    let (RegionCommand::Stop(region)
    | RegionCommand::Kill(region)
    | RegionCommand::Pause(region)
    | RegionCommand::Resume(region)
    | RegionCommand::Start(region)) = command;
    let layout = Layout::open(&region.dir.dir)?;
    let Some(plan) = layout.plan.regions.iter().find(|r| r.name == region.region) else {
        let names: Vec<&str> = layout.plan.regions.iter().map(|r| r.name.as_str()).collect();
        return Err(Failure::new(Exit::NoInput, format!("there is no region `{}`", region.region))
            .remedy(format!("There are: {}.", names.join(", "))));
    };
    let process = layout.vault_process(&plan.name);
    let done = match command {
        RegionCommand::Stop(_) => Done { verb: "stopped", changed: process.stop(PATIENCE)? },
        RegionCommand::Kill(_) => Done { verb: "killed", changed: process.kill()? },
        RegionCommand::Pause(_) => {
            Done { verb: "paused", changed: signal(&process, plan, Signal::STOP, false)? }
        }
        RegionCommand::Resume(_) => {
            Done { verb: "resumed", changed: signal(&process, plan, Signal::CONT, true)? }
        }
        RegionCommand::Start(_) => start(&layout, &process, plan)?,
    };
    let text = match &done {
        Done { verb, changed: true } => format!("{} {verb}", plan.name),
        Done { verb: "stopped" | "killed", .. } => format!("{} was not running", plan.name),
        Done { verb: "started", .. } => format!("{} runs already", plan.name),
        Done { verb: "resumed", .. } => format!("{} was not paused", plan.name),
        Done { verb, .. } => format!("{} was {verb} already", plan.name),
    };
    out.result(
        &text,
        facts([
            ("region", plan.name.clone().into()),
            ("done", done.verb.into()),
            ("changed", done.changed.into()),
        ]),
    )
}

/// Sends SIGSTOP or SIGCONT. True if the vault was `paused` before as given.
fn signal(process: &Process, plan: &RegionPlan, signal: Signal, paused: bool) -> Outcome<bool> {
    let was = process.is_paused();
    if process.signal(signal)? {
        // The signal arrives a little later.
        let until = Instant::now() + PATIENCE;
        while process.pid().is_some() && process.is_paused() == paused && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        return Ok(was == paused);
    }
    Err(Failure::new(Exit::Unavailable, format!("{} does not run", plan.name))
        .remedy(format!("`bkv dev region start {}` starts it, with the same --dir.", plan.name)))
}

fn start(layout: &Layout, process: &Process, plan: &RegionPlan) -> Outcome<Done> {
    process.not_paused()?;
    let changed = process.pid().is_none();
    ports::check_vault(layout, plan)?;
    up::start_vault(layout, plan)?;
    Ok(Done { verb: "started", changed })
}
