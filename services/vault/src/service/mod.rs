//! One vault, shared by its sessions, peers and administration. What it does as one of the regions (verify a person's token, attest, acknowledge, evaluate),
//! it does from its own applied state, whichever vault leads.

mod acknowledgement;
pub(crate) mod attempt_queue;
mod attestation;
mod boot;
mod cache;
mod documents;
mod error;
mod evaluation;
mod fleet;
mod peers;
mod permit;
mod person;
mod raise;
mod refresher;
mod refused_keys;
mod root;
mod share;

pub use documents::{DocumentsError, Installed};
pub use error::RegionError;
pub(crate) use fleet::MakeFleetError;
pub(crate) use permit::LastTry;
pub(crate) use person::Shown;
pub use person::{Asker, Person};
pub(crate) use root::{HandOverError, SignError};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bkv_core::document::Documents;
use bkv_core::id::{NodeId, Route, Slot};
use bkv_core::shard::Fleet;
use bkv_hsm::{Capability, Token, TokenError};
use bkv_mtls::Identity;
use bkv_tokens::{KeyRing, Verifier};
use bkv_wire::channel::{Channel, ChannelError, ServerSettings};
use bkv_wire::documents::Root;
use parking_lot::{Mutex, RwLock};

use crate::env::{Clock, Observer, Random};
use crate::keeper::TokenKeeper;
use crate::metrics::Metrics;
use crate::replica::{Ended, Node, Phase, Replica};
pub use crate::root::Custody;
use attempt_queue::AttemptQueues;
use boot::Boot;
use cache::Cache;
use refresher::Refresher;
use refused_keys::RefusedKeys;

/// How long a request to the other regions may take.
pub(crate) const REGIONS: Duration = Duration::from_secs(2);

/// The fleet, if this replica may speak for its state: a halted one, or one that may have an old disk, signs nothing about accounts (S24).
fn state_of(replica: &Replica) -> Result<Arc<Fleet>, RegionError> {
    if let Some(stop) = replica.stopped() {
        return Err(RegionError::Halted(stop.to_string()));
    }
    if !replica.is_verified() {
        return Err(RegionError::Unverified);
    }
    replica.fleet().ok_or(RegionError::NotInitialised)
}

/// State shared by sessions, peers and administration.
pub struct Vault {
    region: String,
    root: Root,
    custody: Custody,
    node: Node,
    token: Token,
    keeper: Arc<TokenKeeper>,
    delivery_public: [u8; 32],
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    channel: ServerSettings,
    role: Arc<Identity>,
    jwks_ca_file: Option<PathBuf>,
    boot: Boot,
    documents: RwLock<Option<Arc<Installed>>>,
    /// The first document of the pair while the second is missing: (admission, policy), as signed.
    waiting_document: Mutex<(Option<Vec<u8>>, Option<Vec<u8>>)>,
    /// Held while newer documents are put in force.
    taking: tokio::sync::Mutex<()>,
    tokens: RwLock<Option<Arc<Verifier>>>,
    refresher: Refresher,
    cache: Cache,
    attempt_queues: AttemptQueues,
    refused_keys: RefusedKeys,
    capabilities: tokio::sync::OnceCell<Vec<Capability>>,
    /// The version of the state that waits for other regions.
    raise_waits: Mutex<raise::Waiting>,
    metrics: Metrics,
    observer: Arc<dyn Observer>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({})", self.region)
    }
}

/// The parts of a vault.
pub struct Parts {
    /// The region's name.
    pub region: String,
    /// The pinned root, perhaps with its private half.
    pub custody: Custody,
    /// The vault's replicas.
    pub node: Node,
    /// The token, provisioned.
    pub token: Token,
    /// Masks secrets with the same token.
    pub keeper: Arc<TokenKeeper>,
    /// Public half of the delivery key.
    pub delivery_public: [u8; 32],
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// The inner channel, with the identity in the token.
    pub channel: ServerSettings,
    /// The certificate for connections of ChatD and administrators.
    pub role: Arc<Identity>,
    /// The authorities of the policy's JWKS, if not the public ones.
    pub jwks_ca_file: Option<PathBuf>,
    /// The vault's metrics.
    pub metrics: Metrics,
    /// Observes requests and evaluations. [`crate::env::NoObserver`] in service.
    pub observer: Arc<dyn Observer>,
}

impl Vault {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Arc<Self> {
        let vault = Arc::new(Self {
            region: parts.region,
            root: parts.custody.root().clone(),
            custody: parts.custody,
            node: parts.node,
            token: parts.token.clone(),
            keeper: parts.keeper,
            delivery_public: parts.delivery_public,
            clock: parts.clock,
            random: parts.random.clone(),
            channel: parts.channel,
            role: parts.role,
            jwks_ca_file: parts.jwks_ca_file,
            boot: Boot::new(parts.token, parts.random),
            documents: RwLock::new(None),
            waiting_document: Mutex::default(),
            taking: tokio::sync::Mutex::default(),
            tokens: RwLock::new(None),
            refresher: Refresher::default(),
            cache: Cache::default(),
            attempt_queues: AttemptQueues::default(),
            refused_keys: RefusedKeys::default(),
            capabilities: tokio::sync::OnceCell::new(),
            raise_waits: Mutex::default(),
            metrics: parts.metrics,
            observer: parts.observer,
        });
        vault.node.set_service(Arc::new(peers::Answers(Arc::downgrade(&vault))));
        vault
    }

    /// Ends what the vault runs by itself: the refresh of the issuer's keys, then the replicas.
    pub async fn shutdown(&self) -> Ended {
        self.refresher.end().await;
        self.node.shutdown().await
    }

    /// True if this vault serves: a verified voter and a leader in every shard, and a working token.
    pub(crate) fn is_ready(&self) -> bool {
        let shards = self.node.replicas().iter().all(|r| {
            let status = r.status();
            let s = status.borrow();
            s.phase == Phase::Verified && (s.lead || s.leader.is_some()) && r.fleet().is_some()
        });
        shards && self.token.health().is_up()
    }

    /// The name of this vault's region.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// The pinned root.
    pub(crate) const fn root(&self) -> &Root {
        &self.root
    }

    /// The root file's bytes.
    pub(crate) fn root_file(&self) -> &[u8] {
        self.custody.file()
    }

    /// True if this vault holds the root's private half.
    pub(crate) fn holds_root(&self) -> bool {
        self.custody.key().is_some()
    }

    /// The vault's replicas.
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// The token.
    pub const fn token(&self) -> &Token {
        &self.token
    }

    /// The public half of the vault's delivery key.
    pub const fn delivery_public(&self) -> &[u8; 32] {
        &self.delivery_public
    }

    /// The wall clock, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    pub(crate) fn random_bytes<const N: usize>(&self) -> [u8; N] {
        self.random.bytes()
    }

    /// A new inner channel, before its handshake.
    pub(crate) fn new_channel(&self) -> Result<Channel, ChannelError> {
        Channel::server(&self.channel)
    }

    /// The certificate for connections of ChatD and administrators.
    pub(crate) const fn role(&self) -> &Arc<Identity> {
        &self.role
    }

    /// The queues of attempts.
    pub(crate) const fn attempt_queues(&self) -> &AttemptQueues {
        &self.attempt_queues
    }

    /// The issuer's keys that other regions have just refused.
    pub(crate) const fn refused_keys(&self) -> &RefusedKeys {
        &self.refused_keys
    }

    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn observer(&self) -> &dyn Observer {
        self.observer.as_ref()
    }

    /// Certifies a new boot key if the present one ends soon.
    pub(crate) async fn renew_boot_key(&self) -> Result<(), TokenError> {
        let Some(installed) = self.documents() else { return Ok(()) };
        self.boot.renew(&installed.documents.admission, self.node.node(), self.clock.now_ms()).await
    }

    /// The documents in force. None before the first.
    pub fn documents(&self) -> Option<Arc<Installed>> {
        self.documents.read().clone()
    }

    fn put_documents(&self, installed: Arc<Installed>) {
        *self.documents.write() = Some(installed);
    }

    pub(crate) fn tokens(&self) -> Option<Arc<Verifier>> {
        self.tokens.read().clone()
    }

    /// True if this region can verify access tokens: it has a policy, and keys of its issuer younger than a day. Otherwise it counts as unable to evaluate.
    pub(crate) fn can_verify_tokens(&self) -> bool {
        self.tokens().is_some_and(|t| t.keys().is_fresh())
    }

    /// The token's capabilities. Probed once. The next call repeats a failed probe. The wait is short, so that the status still reports a
    /// hanging token.
    pub(crate) async fn capabilities(&self) -> Option<&[Capability]> {
        let probe = || async { self.token.probe().await.map(|c| c.can) };
        let known = tokio::time::timeout(REGIONS, self.capabilities.get_or_try_init(probe)).await;
        known.ok()?.ok().map(Vec::as_slice)
    }

    fn put_tokens(&self, verifier: Verifier) -> Arc<KeyRing> {
        let ring = verifier.keys().clone();
        *self.tokens.write() = Some(Arc::new(verifier));
        ring
    }

    /// This vault's place on the admission list.
    pub(crate) fn slot(&self) -> Option<Slot> {
        let docs = self.documents()?;
        docs.documents.admission.node(self.node.node()).map(|m| m.slot)
    }

    /// The shard of a route.
    pub(crate) fn replica(&self, route: &Route) -> Option<&Replica> {
        self.node.replica(route.shard(u16::try_from(self.node.replicas().len()).unwrap_or(1)))
    }

    /// The name of a node's region.
    pub(crate) fn region_of(&self, node: NodeId) -> String {
        let docs = self.documents();
        docs.and_then(|d| d.documents.admission.node(node).map(|m| m.region.clone())).unwrap_or_default()
    }

    /// The signature of this vault's boot key, with the key's certificate.
    pub(crate) fn sign(&self, statement: &[u8]) -> Option<(bytes::Bytes, bytes::Bytes)> {
        self.boot.sign(statement)
    }

    /// The root-signed documents, for clients.
    pub(crate) fn bundle(&self) -> Option<bkv_wire::proto::outer::Bundle> {
        let docs = self.documents()?;
        let d: &Documents = &docs.documents;
        Some(bkv_wire::proto::outer::Bundle {
            admission: d.admission_signed.clone().into(),
            policy: d.policy_signed.clone().into(),
            region: String::new(),
        })
    }
}
