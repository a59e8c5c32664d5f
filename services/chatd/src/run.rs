//! Runs ChatD from its configuration to its end.

use std::sync::Arc;
use std::time::Duration;

use bkv_config::chatd::{Config, KeySource, Tokens};
use bkv_mtls::{Files, Identity, Role, WebIdentity, https_server};
use bkv_net::Tasks;
use bkv_tokens::{Confirmation, KeyRing, Refresh, Settings, Verifier};
use tokio_util::sync::CancellationToken;

use crate::client_address::Proxies;
use crate::metrics::Metrics;
use crate::projection::{self, Metadata};
use crate::shared::Shared;
use crate::vaults::Vaults;
use crate::{health, public};

/// Leeway for token times, seconds.
pub(crate) const LEEWAY: u64 = 60;
/// Time for clients to disconnect when ChatD drains, and then again for ChatD's own tasks to end. So ChatD ends within twice this time.
const DRAIN: Duration = Duration::from_secs(5);

/// Why ChatD can't start. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A certificate can't be loaded.
    #[error("tls: {0}")]
    Tls(#[from] bkv_mtls::Error),
    /// The issuer's keys can't be loaded.
    #[error("tokens.keys: {0}")]
    Keys(#[from] bkv_tokens::KeysError),
    /// An address can't be bound.
    #[error("listen.{which} {address}: {source}")]
    Listen {
        /// The setting under `listen`.
        which: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// Signal handlers can't be installed.
    #[error("signals")]
    Signals(#[source] std::io::Error),
    /// The role certificate names another role.
    #[error(
        "tls.cert {path}: it is of {found}, a certificate of role chatd is needed: issue it with the URI SAN bkv://role/chatd/<name>"
    )]
    Role {
        /// Path of the certificate.
        path: String,
        /// The role that it names.
        found: String,
    },
    /// The metrics can't be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs until `stop`, then drains.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), RunError> {
    let tasks = Tasks::default();
    // Cancelled after the clients have disconnected: everything else runs until then.
    let end = CancellationToken::new();
    let metrics = Metrics::new()?;
    let files = Files {
        certificate: config.tls.cert.clone(),
        key: config.tls.key.clone(),
        ca: config.tls.ca.clone(),
    };
    let identity = Identity::load(files)?;
    // Refuse a wrong role now: every vault would refuse every connection.
    if identity.name().role() != Role::Chatd {
        let (path, found) = (config.tls.cert.display().to_string(), identity.name().to_uri());
        return Err(RunError::Role { path, found });
    }
    let web = WebIdentity::load(config.web.cert.clone(), config.web.key.clone())?;
    let vaults = Vaults::start(&config.vaults, &identity, &end, &tasks.group("links to vaults"))?;
    let ring = KeyRing::load(source(&config.tokens)).await?;
    tasks.group("token keys").spawn(ring.clone().run(Refresh::default(), end.clone()));
    let settings = Settings {
        issuer: config.tokens.issuer.clone(),
        audience: config.tokens.audience.clone(),
        enrolment_claim: None,
        leeway: LEEWAY,
        // ChatD's token spends no try. A client may keep it for as long as its issuer says.
        max_age: None,
        // ChatD checks no proofs. Its token gives a connection and the account's counters, and no vault accepts it.
        confirmation: Confirmation::Ignored,
    };
    let metadata = Metadata::default();
    if let Some(p) = config.postgres.clone() {
        let (metadata, metrics, vaults, end) =
            (metadata.clone(), metrics.clone(), vaults.clone(), end.clone());
        tasks.group("projection").spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = async {
                    projection::connect(&p.url_file, &metadata, &metrics).await;
                    tokio::join!(
                        projection::follow_url(&p.url_file, &metadata),
                        projection::follow(vaults, metadata.clone(), metrics, end.clone()),
                    );
                } => {}
            }
        });
    }
    let reloads = tasks.group("certificate reload");
    reloads.spawn(identity.clone().watch(Duration::from_secs(5), end.clone()));
    reloads.spawn(web.clone().watch(Duration::from_secs(5), end.clone()));
    let tokens = Verifier::new(settings, ring);
    let certificates = (identity, web.clone());
    let l = &config.listen;
    let proxies = Proxies::new(l.trusted_proxies.clone());
    let shared = Shared::new(
        vaults,
        tokens,
        metadata,
        proxies,
        config.limits,
        metrics,
        stop.clone(),
        certificates,
        &tasks,
    );
    let failed = |which, address| move |source| RunError::Listen { which, address, source };
    tasks.group("bundles").spawn(shared.bundles.clone().follow(shared.vaults.clone(), end.clone()));
    public::listen(shared.clone(), l, https_server(web)?, end.clone(), &tasks)
        .map_err(failed("public", l.public))?;
    health::listen(shared.clone(), l.health, end.clone(), &tasks).map_err(failed("health", l.health))?;
    tracing::info!(public = %l.public, "up");
    stop.cancelled().await;
    tracing::info!("draining");
    drained(&shared).await;
    end.cancel();
    match tasks.ended(DRAIN).await {
        Ok(()) => tracing::info!("all tasks have ended"),
        Err(running) => {
            tracing::warn!(%running, "tasks still run after {} s: ChatD ends without them", DRAIN.as_secs());
        }
    }
    Ok(())
}

async fn drained(shared: &Arc<Shared>) {
    let until = tokio::time::Instant::now() + DRAIN;
    while shared.metrics.connections.get() > 0 && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn source(tokens: &Tokens) -> bkv_tokens::KeySource {
    let ca_file = tokens.ca_file.clone();
    match tokens.keys.clone() {
        KeySource::Inline(json) => bkv_tokens::KeySource::Inline(json),
        KeySource::File(path) => bkv_tokens::KeySource::File(path),
        KeySource::Url(url) => bkv_tokens::KeySource::Url { url, ca_file },
    }
}
