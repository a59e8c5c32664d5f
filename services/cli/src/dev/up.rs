//! `bkv dev up`: makes the fleet at first, then starts what is not running, and waits until it serves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::time::Instant;

use super::ceremony::ceremony;
use super::layout::Layout;
use super::plan::RegionPlan;
use super::readiness::ready;
use super::wishes::Wishes;
use super::{make, network, ports, postgres};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::signals::{Handled, Signals};

/// Everything must serve within this time.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) async fn up(out: Output, dir: &Path, wishes: &Wishes) -> Outcome {
    let started = Instant::now();
    if !dir.join("plan.json").exists() {
        wishes.check()?;
    }
    fs::create_dir_all(dir).map_err(|e| Failure::new(Exit::CantCreate, format!("{}: {e}", dir.display())))?;
    let lock = fs::File::create(dir.join("lock"))
        .map_err(|e| Failure::new(Exit::CantCreate, format!("{}: {e}", dir.display())))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(Failure::new(Exit::Unavailable, "another `bkv dev up` is at work in this folder")
            .remedy("Wait for it to end."));
    }
    out.note("This is a development fleet: its root key lies in the clear, waits are short, tokens are software. It protects nobody.");
    // From here on `up` stops what it has started if a signal comes.
    let handled = Handled::new();
    let mut signals = Signals::new();
    let mut layout = open_or_make(out, dir, wishes)?;
    let ran: Vec<String> = running(&layout);
    let ended = tokio::select! {
        biased;
        ended = serve(out, &mut layout) => ended,
        () = signals.received() => {
            handled.for_good();
            Err(Failure::new(Exit::Interrupted, "interrupted").remedy("`bkv dev up` begins again."))
        }
    };
    if let Err(failure) = ended {
        let stopped = super::stop(&layout, |program| !ran.contains(&program.name));
        let remedy = failure.remedy.clone().unwrap_or_default();
        return Err(match stopped {
            Ok(_) => failure.remedy(format!("{remedy} What this command had started is stopped again.")),
            Err(left) => {
                failure.remedy(format!("{remedy} Not all of what it had started is stopped: {left}."))
            }
        });
    }
    drop(lock);
    let seconds = started.elapsed().as_secs_f64();
    let names: Vec<&str> = layout.plan.regions.iter().map(|r| r.name.as_str()).collect();
    out.result(
        &format!(
            "Up after {seconds:.1} s: {}. Profile: {}",
            names.join(", "),
            layout.dir.join("fleet.toml").display()
        ),
        facts([
            ("regions", names.clone().into()),
            ("fleet", layout.dir.join("fleet.toml").display().to_string().into()),
            ("network", serde_json::json!(layout.plan.network)),
            ("seconds", seconds.into()),
        ]),
    )
}

/// The fleet in this folder. One that was never complete is made again.
fn open_or_make(out: Output, dir: &Path, wishes: &Wishes) -> Outcome<Layout> {
    if dir.join("plan.json").exists() {
        let layout = Layout::open(dir)?;
        if layout.plan.made {
            wishes.fit(&layout.plan)?;
            return Ok(layout);
        }
        wishes.check()?;
        out.note("The fleet in this folder was never complete: it is made again.");
        super::stop(&layout, |_| true)?;
        layout.clear()?;
    }
    let layout = Layout::make(dir, wishes, crate::device::state_home())?;
    out.note("Making root, issuer, certificates and a software token for each region.");
    make::files(&layout).inspect_err(|_| {
        let _ = layout.clear();
    })?;
    Ok(layout)
}

/// Names of the programs that run.
fn running(layout: &Layout) -> Vec<String> {
    let programs = layout.programs().into_iter().chain([postgres::process(layout)]);
    programs.filter(|p| p.pid().is_some()).map(|p| p.name).collect()
}

/// Starts what is not running, and waits until it serves.
async fn serve(out: Output, layout: &mut Layout) -> Outcome {
    for program in layout.programs().iter().chain([&postgres::process(layout)]) {
        program.not_paused()?;
    }
    ports::check(layout)?;
    if layout.plan.network.is_some() {
        network::start(layout)?;
    }
    for region in &layout.plan.regions {
        start_vault(layout, region)?;
    }
    if layout.plan.postgres {
        postgres::start(layout)?;
    }
    start_chatd(layout)?;
    let until = Instant::now() + PATIENCE;
    if !layout.plan.made {
        out.note("Vaults make their keys; the root signs the admission list and the policy.");
        ceremony(layout, until).await?;
        layout.plan.made = true;
        layout.save()?;
    }
    ready(layout, until).await
}

/// A program beside this one.
fn program(name: &str) -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|p| p.parent().map(|d| d.join(name)));
    beside.filter(|p| p.exists()).unwrap_or_else(|| PathBuf::from(name))
}

pub(crate) fn start_vault(layout: &Layout, region: &RegionPlan) -> Outcome {
    let folder = layout.region(&region.name);
    let mut command = Command::new(program("bkv-vault"));
    // Paths only: no secret is in an argument or in the environment.
    command
        .arg("--config")
        .arg(folder.join(bkv_config::vault::FILE_NAME))
        .env("SOFTHSM2_CONF", folder.join("token").join("softhsm2.conf"));
    layout.vault_process(&region.name).start(command)
}

fn start_chatd(layout: &Layout) -> Outcome {
    let mut command = Command::new(program("bkv-chatd"));
    command.arg("--config").arg(layout.chatd().join(bkv_config::chatd::FILE_NAME));
    layout.chatd_process().start(command)
}
