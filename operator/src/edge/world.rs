//! What every pass shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::runtime::events::Recorder;
use tokio::time::Instant;

use super::run::AT_ONCE;
use super::secrets::Database;
use crate::apply::{Applier, Seen};
use crate::metrics::Metrics;
use crate::plan::{Embedded, Settings};
use crate::resource::BackupKeyVaultStatus;
use crate::resource::status::CertificateStatus;
use crate::vaults::{VaultClient, VaultToken};

/// What every pass shares.
pub(super) struct World {
    pub client: Client,
    pub seen: Seen,
    pub applier: Applier,
    pub settings: Settings,
    pub embedded: Embedded,
    pub metrics: Metrics,
    pub events: Recorder,
    /// For metrics of ChatD, in the clear.
    pub http: reqwest::Client,
    /// Between two looks at a resource that nothing has happened to.
    pub resync: Duration,
    memory: Mutex<HashMap<(String, String), Memory>>,
}

/// A status of which the server did not keep everything. Without this each pass would write it again.
pub(super) struct Dropped {
    /// When it was written.
    pub at: Instant,
    /// What the server kept.
    pub kept: BackupKeyVaultStatus,
    /// What it was given.
    pub given: BackupKeyVaultStatus,
}

/// By then the definition may be another.
const TRY_AGAIN: Duration = Duration::from_mins(10);

/// What is remembered of a resource between passes, to spare the API server and the tokens. Nothing here decides: losing it costs a few reads.
#[derive(Default, Clone)]
pub(super) struct Memory {
    /// Of this resource, and not of one of the same name before it.
    pub uid: String,
    /// When something was last on the move.
    pub moved: Option<Instant>,
    /// Under a definition that lacks fields.
    pub dropped: Option<Arc<Dropped>>,
    /// Public parts by region, with the pod that gave them: a pod that is replaced is asked again.
    pub tokens: HashMap<String, (String, VaultToken)>,
    /// Connections by region, with the pod and the certificate that they were made with.
    pub clients: HashMap<String, (String, VaultClient)>,
    /// When PINs and the database's Secrets were last found good, for which generation, and what the plan must know of them.
    pub secrets: Option<(Instant, i64, Database)>,
    /// When the certificates were looked at, for which resource and generation, and what was seen.
    pub pki: Option<(Instant, (String, i64), Arc<Certificates>)>,
}

/// The certificates of a fleet as they were last seen.
pub(super) struct Certificates {
    /// For the admin doors.
    pub identity: Arc<bkv_mtls::Identity>,
    /// Tells identities apart.
    pub mark: String,
    /// For the status.
    pub listed: Vec<CertificateStatus>,
    /// PEM: who signs ChatD's web certificate.
    pub web_authority: Option<String>,
}

impl Memory {
    /// A status as we gave it, if this is what the server kept of it.
    pub(super) fn completed(&self, stored: BackupKeyVaultStatus) -> BackupKeyVaultStatus {
        match &self.dropped {
            Some(d) if d.kept == stored && d.at.elapsed() < TRY_AGAIN => d.given.clone(),
            _ => stored,
        }
    }
}

impl World {
    pub(super) fn new(
        client: Client,
        seen: Seen,
        (settings, embedded): (Settings, Embedded),
        metrics: Metrics,
        events: Recorder,
        resync: Duration,
    ) -> Self {
        let applier = Applier::new(client.clone(), seen.clone());
        // A builder without TLS or proxies can't fail; the default client has no time-out, which costs patience and no more.
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(3))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap_or_default();
        Self {
            client,
            seen,
            applier,
            settings,
            embedded,
            metrics,
            events,
            http,
            resync,
            memory: Mutex::default(),
        }
    }

    /// What is remembered of a resource.
    pub(super) fn recall(&self, namespace: &str, name: &str, uid: &str) -> Memory {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let known = memory.get(&(namespace.to_owned(), name.to_owned())).filter(|m| m.uid == uid);
        known.cloned().unwrap_or_else(|| Memory { uid: uid.to_owned(), ..Memory::default() })
    }

    /// Remembers it.
    pub(super) fn remember(&self, namespace: &str, name: &str, what: Memory) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.insert((namespace.to_owned(), name.to_owned()), what);
    }

    /// A pause that leaves half of the passes to others. The controller's queue takes whatever comes to hand: with hundreds of resources, those that
    /// want to be looked at again at once would keep others from ever being looked at.
    pub(super) fn fair(&self, pause: Duration, pass: Duration) -> Duration {
        let many = self.memory.lock().unwrap_or_else(PoisonError::into_inner).len();
        pause.max(fair(many, pass))
    }

    /// The resource is gone.
    pub(super) fn forget(&self, namespace: &str, name: &str) {
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(namespace.to_owned(), name.to_owned()));
        self.applier.forget(namespace, name);
        self.metrics.forget(namespace, name);
    }
}

fn fair(many: usize, pass: Duration) -> Duration {
    pass.saturating_mul(u32::try_from(many).unwrap_or(u32::MAX)) / (u32::from(AT_ONCE) / 2)
}

/// The time of a pass.
pub(super) fn now() -> Timestamp {
    // Whole seconds, as Kubernetes keeps times: else a status would differ from what was stored.
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_resources_leave_room_for_those_that_were_not_looked_at_yet() {
        let pass = Duration::from_millis(400);
        assert_eq!(fair(1, pass), Duration::from_millis(100), "one resource does not wait for itself");
        // 500 that are looked at every 50 s take 4 s of passes a second: half of 8 at once.
        assert_eq!(fair(500, pass), Duration::from_secs(50));
    }
}
