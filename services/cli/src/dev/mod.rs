//! `bkv dev`: a whole fleet on this machine. Its root key, its issuer's key and its tokens' PINs lie in one folder, so it protects nobody.

mod admin;
mod ceremony;
mod delay;
mod layout;
mod make;
mod network;
mod plan;
mod postgres;
mod process;
mod readiness;
mod up;
mod wishes;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bkv_tokens::dev::{CHATD_AUDIENCE, DevClaims, DevIssuer, ISSUER, VAULT_AUDIENCE};
use clap::{Args, Subcommand};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts, to_stdout};
use layout::Layout;

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
        /// Milliseconds to wait after the 1st, 2nd … failure. In a real fleet these are minutes to days. [default: 0]
        #[arg(long, value_delimiter = ',')]
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
    /// Print tokens for a subject, as a real app would get them from its identity provider.
    Token {
        /// Name of the subject. Any name will do.
        subject: String,
        #[command(flatten)]
        dir: DevDir,
        /// Lifetime of the tokens in seconds, at most a day.
        #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        ttl: u64,
    },
    /// Stop, kill, pause or start one region.
    #[command(subcommand)]
    Region(RegionCommand),
}

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
                no_postgres,
                no_ksf: bench_no_ksf,
            };
            up::up(out, &dir.dir, &wishes).await
        }
        DevCommand::Network { dir } => network::run(&Layout::open(&dir.dir)?).await,
        DevCommand::Down { dir } => down(out, &Layout::open(&dir.dir)?),
        DevCommand::Status { dir } => status(out, &Layout::open(&dir.dir)?).await,
        DevCommand::Token { subject, dir, ttl } => token(&Layout::open(&dir.dir)?, &subject, ttl),
        DevCommand::Region(command) => region(out, &command),
    }
}

fn down(out: Output, layout: &Layout) -> Outcome {
    layout.chatd_process().stop(PATIENCE);
    // Stop all at the same time: each vault gives up leadership first.
    std::thread::scope(|s| {
        for r in &layout.plan.regions {
            let process = layout.vault_process(&r.name);
            s.spawn(move || process.stop(PATIENCE));
        }
    });
    layout.network_process().stop(PATIENCE);
    postgres::stop(layout);
    out.result("Stopped. The folder stays; `bkv dev up` starts it again.", facts([("stopped", true.into())]))
}

async fn status(out: Output, layout: &Layout) -> Outcome {
    let mut regions: Vec<Value> = Vec::new();
    let mut lines = vec!["region       pid      ready  leads   metrics".to_owned()];
    for r in &layout.plan.regions {
        let pid = layout.vault_process(&r.name).pid().map(|p| p.as_raw_nonzero().get());
        let answer = match pid {
            Some(_) => admin::client(layout, r)?.status().await.ok(),
            None => None,
        };
        let shards = answer.as_ref().map(|a| &a.shards);
        let leads: Vec<u16> = shards.into_iter().flatten().filter(|s| s.leads).map(|s| s.shard).collect();
        let ready = answer.as_ref().is_some_and(|a| a.ready);
        lines.push(format!(
            "{:<12} {:<8} {:<6} {:<7} http://127.0.0.1:{}/metrics",
            r.name,
            pid.map_or("-".into(), |p| p.to_string()),
            if ready { "yes" } else { "no" },
            leads.len(),
            r.health
        ));
        regions.push(json!({
            "name": r.name, "pid": pid, "ready": ready, "leads": leads, "shards": shards, "notes": answer.as_ref().map(|a| &a.notes),
            "relay": r.relay, "peer": r.peer, "admin": r.admin, "health": r.health,
        }));
    }
    let chatd = layout.chatd_process().pid().map(|p| p.as_raw_nonzero().get());
    let postgres = postgres::pid(layout);
    let network = layout.network_process().pid().map(|p| p.as_raw_nonzero().get());
    let show = |p: Option<i32>| p.map_or("-".to_owned(), |p| p.to_string());
    lines.push(format!("chatd        {:<8} https://127.0.0.1:{}", show(chatd), layout.plan.chatd));
    lines.push(format!("postgres     {:<8} {}", show(postgres), layout.socket().display()));
    if let Some(plan) = &layout.plan.network {
        lines.push(format!("network      {:<8} {plan}", show(network)));
    }
    lines.push("A development fleet: it shows how things work and protects nobody.".to_owned());
    out.shown(
        &lines.join("\n"),
        facts([
            ("regions", regions.into()),
            ("chatd", json!({ "pid": chatd, "port": layout.plan.chatd })),
            ("postgres", json!({ "pid": postgres })),
            ("network", json!({ "pid": network, "delays": layout.plan.network })),
        ]),
    )
}

/// Both tokens, as JSON whatever the output: it is a file for `--token`.
fn token(layout: &Layout, subject: &str, lifetime: u64) -> Outcome {
    if subject.is_empty() {
        return Err(Failure::new(Exit::NoInput, "a subject can't be empty"));
    }
    let key = std::fs::read(layout.issuer_key())
        .map_err(|e| Failure::new(Exit::NoInput, format!("the issuer's key: {e}")))?;
    let issuer =
        DevIssuer::from_pkcs8(ISSUER, &key).map_err(|e| Failure::new(Exit::Config, e.to_string()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let sign = |audience| issuer.sign(&DevClaims { subject, audience, now, lifetime, enrolment: None });
    let tokens = json!({ "chatd": sign(CHATD_AUDIENCE), "vault": sign(VAULT_AUDIENCE) });
    to_stdout(&tokens.to_string())
        .map_err(|e| e.remedy("Make room or choose another output. More tokens cost nothing."))
}

fn region(out: Output, command: &RegionCommand) -> Outcome {
    let (region, verb) = match command {
        RegionCommand::Stop(r) => (r, "stopped"),
        RegionCommand::Kill(r) => (r, "killed"),
        RegionCommand::Pause(r) => (r, "paused"),
        RegionCommand::Resume(r) => (r, "resumed"),
        RegionCommand::Start(r) => (r, "started"),
    };
    let layout = Layout::open(&region.dir.dir)?;
    let Some(plan) = layout.plan.regions.iter().find(|r| r.name == region.region) else {
        let names: Vec<&str> = layout.plan.regions.iter().map(|r| r.name.as_str()).collect();
        return Err(Failure::new(Exit::NoInput, format!("there is no region `{}`", region.region))
            .remedy(format!("There are: {}.", names.join(", "))));
    };
    let process = layout.vault_process(&plan.name);
    match command {
        RegionCommand::Stop(_) => process.stop(PATIENCE),
        RegionCommand::Kill(_) => {
            process.kill();
        }
        RegionCommand::Pause(_) => {
            process.signal(Signal::STOP);
        }
        RegionCommand::Resume(_) => {
            process.signal(Signal::CONT);
        }
        RegionCommand::Start(_) => up::start_vault(&layout, plan)?,
    }
    out.result(
        &format!("{} {verb}", region.region),
        facts([("region", region.region.clone().into()), ("done", verb.into())]),
    )
}
