//! `bkv dev`: a whole fleet on this machine. Its root key, its issuer's key and its tokens' PINs lie in one folder, so it protects nobody.

mod admin;
mod ceremony;
mod delay;
mod layout;
mod make;
mod neighbours;
mod network;
mod plan;
mod policy;
mod ports;
mod postgres;
mod process;
mod readiness;
mod region;
mod token;
mod up;
mod wishes;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::exit::Outcome;
use crate::output::{Output, facts};
use layout::Layout;
pub(crate) use region::RegionCommand;

#[derive(Debug, Args)]
pub(crate) struct DevDir {
    /// Folder of the local fleet: keys, tokens, stores, logs.
    #[arg(long, default_value = ".bkv-dev", value_name = "DIR")]
    pub dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DevCommand {
    /// Start a local fleet (and make it first, if it isn't there yet): vaults, ChatD, Postgres, a token issuer.
    Up {
        #[command(flatten)]
        dir: DevDir,
        /// Number of regions: 1, 3 or 5. Like all of these options, it is fixed once the fleet is made. [default: 3]
        #[arg(long)]
        regions: Option<u8>,
        /// Number of shards. [default: 4]
        #[arg(long)]
        shards: Option<u16>,
        /// Milliseconds to wait after the 1st, 2nd … failure, separated by commas, such as 0,0,60000. The last one counts for all further failures. In a real
        /// fleet these are minutes to days. [default: 0]
        #[arg(long, value_delimiter = ',', value_name = "MS,MS,…")]
        waits_ms: Option<Vec<u64>>,
        /// Milliseconds that the last try may stay open. In a real fleet it is a day. [default: 10000]
        #[arg(long)]
        last_try_ms: Option<u64>,
        /// Number of failures after which an account locks, counted from its registration. [default: 100]
        #[arg(long)]
        lifetime_failures: Option<u32>,
        /// Delay everything between the regions, as an ocean does: the round trip between two regions, such as 250ms. [default: none]
        #[arg(long, value_name = "TIME", value_parser = network::round_trip)]
        round_trip: Option<Duration>,
        /// How far single delays differ from half of the round trip, in percent, such as 30%. Needs --round-trip. [default: 0%]
        #[arg(long, value_name = "PERCENT", value_parser = network::percent)]
        jitter: Option<u8>,
        /// Let the vaults take only tokens that are bound to a key: `bkv dev token --jkt`.
        #[arg(long)]
        bound_tokens: bool,
        /// Run without Postgres. Metadata is then always stale.
        #[arg(long)]
        no_postgres: bool,
        /// For `make bench` only: a development policy whose floor allows records without key stretching. `bkv` itself can't use it.
        #[arg(long, hide = true)]
        bench_no_ksf: bool,
    },
    /// Carry the connections between the regions with a delay. `up` starts this.
    #[command(hide = true)]
    Network {
        #[command(flatten)]
        dir: DevDir,
    },
    /// Change the delays between the regions of a fleet that was made with --round-trip, also while it runs.
    RoundTrip {
        /// The new round trip, such as 400ms.
        #[arg(value_name = "TIME", value_parser = network::round_trip)]
        time: Duration,
        /// How far single delays differ from half of the round trip, in percent. [default: as before]
        #[arg(long, value_name = "PERCENT", value_parser = network::percent)]
        jitter: Option<u8>,
        #[command(flatten)]
        dir: DevDir,
    },
    /// Stop everything that `up` started. The folder stays.
    Down {
        #[command(flatten)]
        dir: DevDir,
    },
    /// Show which programs run, on which ports, and their health.
    Status {
        #[command(flatten)]
        dir: DevDir,
    },
    /// Make tokens for a subject, as a real app would get them from its identity provider.
    Token {
        /// Name of the subject. Any name will do.
        subject: String,
        #[command(flatten)]
        dir: DevDir,
        /// Lifetime of the tokens in seconds, at most a day.
        #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        ttl: u64,
        /// Write them into this file, which only you can read, instead of to stdout. Replaces a file only if it holds tokens.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Bind the vaults' token to the key with this thumbprint, which `bkv token-key` shows.
        #[arg(long, value_name = "THUMBPRINT", allow_hyphen_values = true)]
        jkt: Option<String>,
    },
    /// Stop, kill, pause or start one region.
    #[command(subcommand)]
    Region(RegionCommand),
}

/// How long a program may take to end in order.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn run(out: Output, command: DevCommand) -> Outcome {
    match command {
        DevCommand::Up {
            dir,
            regions,
            shards,
            waits_ms,
            last_try_ms,
            lifetime_failures,
            round_trip,
            jitter,
            bound_tokens,
            no_postgres,
            bench_no_ksf,
        } => {
            let wishes = wishes::Wishes {
                regions,
                shards,
                waits_ms,
                last_try_ms,
                lifetime_failures,
                network: network::wished(round_trip, jitter)?,
                bound_tokens,
                no_postgres,
                no_ksf: bench_no_ksf,
            };
            up::up(out, &dir.dir, &wishes).await
        }
        DevCommand::Network { dir } => network::run(&Layout::open(&dir.dir)?).await,
        DevCommand::RoundTrip { time, jitter, dir } => {
            network::change(out, Layout::open(&dir.dir)?, time, jitter)
        }
        DevCommand::Down { dir } => down(out, &Layout::open(&dir.dir)?),
        DevCommand::Status { dir } => status(out, &Layout::open(&dir.dir)?).await,
        DevCommand::Token { subject, dir, ttl, out: file, jkt } => {
            token::token(out, &Layout::open(&dir.dir)?, &subject, ttl, jkt.as_deref(), file.as_deref())
        }
        DevCommand::Region(command) => region::run(out, &command),
    }
}

fn down(out: Output, layout: &Layout) -> Outcome {
    if stop(layout, |_| true)? {
        out.result(
            "Stopped. The folder stays; `bkv dev up` starts it again.",
            facts([("stopped", true.into())]),
        )
    } else {
        out.result("Nothing was running. The folder stays.", facts([("stopped", false.into())]))
    }
}

/// Stops the programs that `which` names, all of them before it reports a failure. True if one ran.
fn stop(layout: &Layout, which: impl Fn(&process::Process) -> bool) -> Outcome<bool> {
    let (mut ran, mut failed) = (false, None);
    let mut see = |outcome: Outcome<bool>| match outcome {
        Ok(was) => ran |= was,
        Err(failure) => failed = Some(failure),
    };
    let mut programs = layout.programs();
    programs.retain(|program| which(program));
    // ChatD first, so that it starts no more work. Then all others at the same time: each vault gives up leadership first.
    let (chatd, others): (Vec<_>, Vec<_>) = programs.into_iter().partition(|p| p.name == "chatd");
    for program in &chatd {
        see(program.stop(PATIENCE));
    }
    std::thread::scope(|s| {
        let threads: Vec<_> = others.iter().map(|p| s.spawn(|| p.stop(PATIENCE))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).for_each(&mut see);
    });
    if which(&postgres::process(layout)) {
        see(postgres::stop(layout));
    }
    failed.map_or(Ok(ran), Err)
}

async fn status(out: Output, layout: &Layout) -> Outcome {
    let mut regions: Vec<Value> = Vec::new();
    let mut lines = vec!["region       pid      ready  leads   metrics".to_owned()];
    for r in &layout.plan.regions {
        let process = layout.vault_process(&r.name);
        let (pid, paused) = (process.number(), process.is_paused());
        let answer = match pid {
            // A paused vault answers nothing.
            Some(_) if !paused => admin::client(layout, r)?.status().await.ok(),
            _ => None,
        };
        let shards = answer.as_ref().map(|a| &a.shards);
        let leads: Vec<u16> = shards.into_iter().flatten().filter(|s| s.leads).map(|s| s.shard).collect();
        let ready = answer.as_ref().is_some_and(|a| a.ready);
        lines.push(format!(
            "{:<12} {:<8} {:<6} {:<7} http://127.0.0.1:{}/metrics",
            r.name,
            pid.map_or("-".into(), |p| p.to_string()),
            if paused {
                "paused"
            } else if ready {
                "yes"
            } else {
                "no"
            },
            leads.len(),
            r.health
        ));
        regions.push(json!({
            "name": r.name, "node": answer.as_ref().map(|a| a.node), "pid": pid, "paused": paused, "ready": ready, "leads": leads, "shards": shards, "notes": answer.as_ref().map(|a| &a.notes),
            "relay": r.relay, "peer": r.peer, "admin": r.admin, "health": r.health,
        }));
    }
    let [chatd, postgres, network] =
        [layout.chatd_process(), postgres::process(layout), layout.network_process()];
    let show = |p: &process::Process, what: &str| {
        let pid = p.number().map_or("-".to_owned(), |pid| pid.to_string());
        format!("{:<12} {pid:<8} {what}{}", p.name, if p.is_paused() { " (paused)" } else { "" })
    };
    lines.push(show(&chatd, &format!("https://127.0.0.1:{}", layout.plan.chatd)));
    lines.push(show(&postgres, &crate::legible::path(&layout.socket())));
    if let Some(plan) = &layout.plan.network {
        lines.push(show(&network, &plan.to_string()));
    }
    lines.push("A development fleet: it shows how things work and protects nobody.".to_owned());
    out.shown(
        &lines.join("\n"),
        facts([
            ("regions", regions.into()),
            (
                "chatd",
                json!({ "pid": chatd.number(), "paused": chatd.is_paused(), "port": layout.plan.chatd }),
            ),
            ("postgres", json!({ "pid": postgres.number(), "paused": postgres.is_paused() })),
            ("network", json!({ "pid": network.number(), "delays": layout.plan.network })),
        ]),
    )
}
