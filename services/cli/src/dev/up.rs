//! `bkv dev up`: makes the fleet at first, then starts what is not running, and waits until it serves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bkv_admin_api::VaultClient;
use bkv_admin_api::draft::{self, PolicyWish};
use bkv_core::document::{JwksSource, Policy};
use bkv_core::id::{Slot, Time};
use bkv_core::record::{AttemptPolicy, KsfParams};
use bkv_tokens::dev::{CHATD_AUDIENCE, ISSUER, VAULT_AUDIENCE};
use bkv_wire::documents::{Kind, Root, RootKey, add_signature, unsigned, write_admission, write_policy};
use futures_util::future::join_all;
use rustix::fs::{FlockOperation, flock};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::admin::patiently;
use super::layout::Layout;
use super::plan::RegionPlan;
use super::wishes::Wishes;
use super::{make, postgres};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};

/// Everything must serve within this time.
const PATIENCE: Duration = Duration::from_mins(1);
const MINUTE_MS: u64 = 60_000;

pub(crate) async fn up(out: Output, dir: &Path, wishes: &Wishes) -> Outcome {
    let started = Instant::now();
    fs::create_dir_all(dir).map_err(|e| Failure::new(Exit::CantCreate, format!("{}: {e}", dir.display())))?;
    let lock = fs::File::create(dir.join("lock"))
        .map_err(|e| Failure::new(Exit::CantCreate, format!("{}: {e}", dir.display())))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(Failure::new(Exit::Unavailable, "another `bkv dev up` is at work in this folder")
            .remedy("Wait for it to end."));
    }
    out.note("This is a development fleet: its root key lies in the clear, waits are short, tokens are software. It protects nobody.");
    let mut layout = if dir.join("plan.json").exists() {
        let layout = Layout::open(dir)?;
        wishes.fit(&layout.plan)?;
        layout
    } else {
        let layout = Layout::make(dir, wishes)?;
        out.note("Making root, issuer, certificates and a software token for each region.");
        if let Err(e) = make::files(&layout) {
            // Half a fleet would block the next run.
            let _ = fs::remove_file(layout.dir.join("plan.json"));
            let _ = fs::remove_file(layout.root_key());
            let _ = fs::remove_file(layout.root());
            let _ = fs::remove_dir_all(layout.dir.join("regions"));
            return Err(e);
        }
        layout
    };
    for region in &layout.plan.regions {
        start_vault(&layout, region)?;
    }
    if layout.plan.postgres {
        postgres::start(&layout)?;
    }
    start_chatd(&layout)?;
    let until = Instant::now() + PATIENCE;
    if !layout.plan.made {
        out.note("Vaults make their keys; the root signs the admission list and the policy.");
        ceremony(&layout, until).await?;
        layout.plan.made = true;
        layout.save()?;
    }
    ready(&layout, until).await?;
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
            ("seconds", seconds.into()),
        ]),
    );
    Ok(())
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

async fn ceremony(layout: &Layout, until: Instant) -> Outcome {
    let unexpected = |e: &dyn std::fmt::Display| Failure::new(Exit::Unexpected, e.to_string());
    let root = fs::read(layout.root()).map_err(|e| unexpected(&e))?;
    let root = Root::decode(&root).map_err(|e| unexpected(&e))?;
    let seed = Zeroizing::new(fs::read(layout.root_key()).map_err(|e| unexpected(&e))?);
    let seed: Zeroizing<[u8; 32]> =
        Zeroizing::new(seed.as_slice().try_into().map_err(|_| unexpected(&"root.key: length"))?);
    let key = RootKey::from_seed(&seed);
    let asked = layout.plan.regions.iter().map(|r| patiently(layout, r, until, VaultClient::token));
    let mut tokens = Vec::new();
    for (answer, slot) in join_all(asked).await.into_iter().zip(1u8..) {
        tokens.push((Slot(slot), answer?));
    }
    let tokens: Vec<_> = tokens.iter().map(|(slot, token)| (*slot, token)).collect();
    let now =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(0));
    let list = draft::admission(&root, draft::members(&tokens), 1, Time(now));
    let jwks = fs::read_to_string(layout.jwks()).map_err(|e| unexpected(&e))?;
    let policy = policy(layout, &root, jwks, Time(now));
    let sign = |kind, body: Result<Vec<u8>, bkv_wire::documents::DocumentError>| {
        let body = body.map_err(|e| Failure::new(Exit::Config, e.to_string()))?;
        add_signature(kind, &unsigned(kind, body), &key).map_err(|e| unexpected(&e))
    };
    let (list, policy) =
        (sign(Kind::Admission, write_admission(&list))?, sign(Kind::Policy, write_policy(&policy))?);
    for region in &layout.plan.regions {
        for (kind, signed) in [(Kind::Admission, &list), (Kind::Policy, &policy)] {
            patiently(layout, region, until, async |c| c.install(kind, signed.clone()).await).await?;
        }
    }
    let seed = layout.plan.regions.first().ok_or_else(|| unexpected(&"no region"))?;
    patiently(layout, seed, until, VaultClient::init).await?;
    Ok(())
}

/// Shorter periods than in production, so that tests need not wait.
fn policy(layout: &Layout, root: &Root, jwks: String, now: Time) -> Policy {
    let wishes = &layout.plan.policy;
    let wish = PolicyWish {
        issuer: ISSUER.into(),
        vault_audience: VAULT_AUDIENCE.into(),
        chatd_audience: CHATD_AUDIENCE.into(),
        jwks: JwksSource::Inline(jwks),
        enrolment_claim: None,
        max: 10,
        lifetime_failures: wishes.lifetime_failures,
        waits_ms: wishes.waits_ms.clone(),
        shards: layout.plan.shards,
        development: true,
    };
    let usual = wish.draft(root, 1, now);
    let none = KsfParams { memory_kib: 0, passes: 0, lanes: 0 };
    Policy {
        attempts: AttemptPolicy { last_try_ms: wishes.last_try_ms, attempt_ms: MINUTE_MS, ..usual.attempts },
        store_ms: MINUTE_MS,
        ksf_floor: if wishes.no_ksf { none } else { usual.ksf_floor },
        ..usual
    }
}

/// Waits until each shard is led by one region: until then `bkv dev status` would show fewer than there are.
async fn leaders(layout: &Layout, until: Instant) -> Outcome {
    loop {
        let mut led = vec![0u32; usize::from(layout.plan.shards)];
        for region in &layout.plan.regions {
            let status = patiently(layout, region, until, VaultClient::status).await?;
            for shard in status.shards.iter().filter(|s| s.leads) {
                if let Some(count) = led.get_mut(usize::from(shard.shard)) {
                    *count += 1;
                }
            }
        }
        if led.iter().all(|count| *count == 1) {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Failure::new(Exit::Unavailable, "not every shard has a leader").remedy(
                "`bkv dev status` shows which region leads what; the logs are in the fleet's folder.",
            ));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn ready(layout: &Layout, until: Instant) -> Outcome {
    for region in &layout.plan.regions {
        loop {
            let status = patiently(layout, region, until, VaultClient::status).await?;
            if status.ready {
                break;
            }
            if Instant::now() >= until {
                return Err(Failure::new(
                    Exit::Unavailable,
                    format!("vault {} is not ready: {status:?}", region.name),
                )
                .remedy(format!("Its log: {}", layout.vault_process(&region.name).log.display())));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    leaders(layout, until).await?;
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build();
    let http = http.map_err(|e| Failure::new(Exit::Unexpected, e.to_string()))?;
    let url = format!("http://127.0.0.1:{}/readyz", layout.plan.chatd_health);
    loop {
        if http.get(&url).send().await.is_ok_and(|a| a.status().is_success()) {
            return Ok(());
        }
        let process = layout.chatd_process();
        if process.pid().is_none() || Instant::now() >= until {
            return Err(Failure::new(
                Exit::Unavailable,
                format!("chatd is not ready:\n{}", process.last_words()),
            )
            .remedy(format!("Its log: {}", process.log.display())));
        }
        sleep(Duration::from_millis(50)).await;
    }
}
