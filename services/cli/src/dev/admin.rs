//! The vaults' administration ports, with the certificate that `bkv dev` issued for itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bkv_admin_api::{VaultClient, VaultError};
use bkv_mtls::{Files, Identity};
use tokio::time::{Instant, sleep};

use super::layout::Layout;
use super::plan::RegionPlan;
use crate::exit::{Exit, Failure, Outcome};

const PAUSE: Duration = Duration::from_millis(50);

fn unavailable(e: VaultError) -> Failure {
    match e {
        VaultError::Refused { region, problem, .. } => {
            let message = format!("vault {region}: {}: {}", problem.field, problem.error);
            Failure::new(Exit::Unavailable, message).remedy(problem.remedy)
        }
        e => Failure::new(Exit::Unavailable, e.to_string()),
    }
}

pub(crate) fn client(layout: &Layout, region: &RegionPlan) -> Outcome<VaultClient> {
    let identity = Identity::load(Files::in_directory(&layout.admin()))
        .map_err(|e| Failure::new(Exit::Unavailable, format!("vault {}: {e}", region.name)))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, region.admin));
    VaultClient::new(&region.name, address, identity).map_err(unavailable)
}

/// Repeats a request until the vault does it, for as long as its process runs. A request that the vault refuses as wrong is not repeated.
pub(crate) async fn patiently<T>(
    layout: &Layout,
    region: &RegionPlan,
    until: Instant,
    ask: impl AsyncFn(&VaultClient) -> Result<T, VaultError>,
) -> Outcome<T> {
    let client = client(layout, region)?;
    loop {
        let error = match ask(&client).await {
            Ok(answer) => return Ok(answer),
            Err(e) => e,
        };
        let process = layout.vault_process(&region.name);
        if process.pid().is_none() {
            return Err(Failure::new(Exit::Unexpected, format!("vault {} ended", region.name))
                .log(process.last_words())
                .remedy(format!("Its log: {}", process.log.display())));
        }
        process.not_paused()?;
        let wrong = matches!(error, VaultError::Refused { status: 400..=499, .. });
        if wrong || Instant::now() >= until {
            return Err(unavailable(error));
        }
        sleep(PAUSE).await;
    }
}
