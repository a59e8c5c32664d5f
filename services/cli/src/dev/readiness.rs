//! Waits until a local fleet serves. On a timeout the error names the part that does not serve, and its log file.

use std::time::Duration;

use bkv_admin_api::VaultClient;
use tokio::time::{Instant, sleep};

use super::admin::patiently;
use super::layout::Layout;
use crate::exit::{Exit, Failure, Outcome};

/// Waits until one region leads each shard. Otherwise `bkv dev status` would list shards without a leader.
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

/// Waits until every vault, every shard and ChatD serve.
pub(super) async fn ready(layout: &Layout, until: Instant) -> Outcome {
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
        process.not_paused()?;
        if process.pid().is_none() || Instant::now() >= until {
            return Err(Failure::new(Exit::Unavailable, "chatd is not ready")
                .log(process.last_words())
                .remedy(format!("Its log: {}", process.log.display())));
        }
        sleep(Duration::from_millis(50)).await;
    }
}
