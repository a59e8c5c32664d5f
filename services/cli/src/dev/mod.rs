//! `bkv dev`: a whole fleet on this machine. Its root key, its issuer's key and its tokens' PINs lie in one folder, so it protects nobody.

mod admin;
mod ceremony;
mod layout;
mod make;
mod plan;
mod postgres;
mod process;
mod readiness;
mod up;
mod wishes;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bkv_tokens::dev::{CHATD_AUDIENCE, DevClaims, DevIssuer, ISSUER, VAULT_AUDIENCE};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::args::{DevCommand, RegionCommand};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use layout::Layout;

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
            no_postgres,
            bench_no_ksf,
        } => {
            let wishes = wishes::Wishes {
                regions,
                shards,
                waits_ms,
                last_try_ms,
                lifetime_failures,
                no_postgres,
                no_ksf: bench_no_ksf,
            };
            up::up(out, &dir.dir, &wishes).await
        }
        DevCommand::Down { dir } => {
            down(out, &Layout::open(&dir.dir)?);
            Ok(())
        }
        DevCommand::Status { dir } => status(out, &Layout::open(&dir.dir)?).await,
        DevCommand::Token { subject, dir, ttl } => token(&Layout::open(&dir.dir)?, &subject, ttl),
        DevCommand::Region(command) => region(out, &command),
    }
}

fn down(out: Output, layout: &Layout) {
    layout.chatd_process().stop(PATIENCE);
    // Stop all at the same time: each vault gives up leadership first.
    std::thread::scope(|s| {
        for r in &layout.plan.regions {
            let process = layout.vault_process(&r.name);
            s.spawn(move || process.stop(PATIENCE));
        }
    });
    postgres::stop(layout);
    out.result("Stopped. The folder stays; `bkv dev up` starts it again.", facts([("stopped", true.into())]));
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
    let show = |p: Option<i32>| p.map_or("-".to_owned(), |p| p.to_string());
    lines.push(format!("chatd        {:<8} https://127.0.0.1:{}", show(chatd), layout.plan.chatd));
    lines.push(format!("postgres     {:<8} {}", show(postgres), layout.socket().display()));
    lines.push("A development fleet: it shows how things work and protects nobody.".to_owned());
    out.result(
        &lines.join("\n"),
        facts([
            ("regions", regions.into()),
            ("chatd", json!({ "pid": chatd, "port": layout.plan.chatd })),
            ("postgres", json!({ "pid": postgres })),
        ]),
    );
    Ok(())
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
    println!("{}", json!({ "chatd": sign(CHATD_AUDIENCE), "vault": sign(VAULT_AUDIENCE) }));
    Ok(())
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
    );
    Ok(())
}
