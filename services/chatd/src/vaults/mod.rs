//! Links to the vaults, one per region. All clients' streams share them.

mod connection;
mod link;
mod queue;

use link::Dialer;
pub use link::{Link, VaultStream};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bkv_core::id::Route;
use bkv_mtls::{ClientRole, Identity, Role};
use parking_lot::{Mutex, MutexGuard};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::routing::Routing;

/// The links to all vaults, and the known leaders.
#[derive(Debug)]
pub struct Vaults {
    links: BTreeMap<String, Arc<Link>>,
    routing: Arc<Mutex<Routing>>,
    turn: AtomicUsize,
}

impl Vaults {
    /// Connects to every region until `stop`, and reconnects.
    pub fn start(
        addresses: &BTreeMap<String, String>,
        identity: &Arc<Identity>,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Arc<Self>, bkv_mtls::Error> {
        let routing = Arc::new(Mutex::new(Routing::new()));
        let mut links = BTreeMap::new();
        for (region, address) in addresses {
            let tls = ClientRole::new(identity.clone(), Role::Vault).named(region).build()?;
            let dialer = Dialer {
                address: address.clone(),
                tls: TlsConnector::from(tls),
                identity: identity.clone(),
                routing: routing.clone(),
                stop: stop.clone(),
                tasks: tasks.clone(),
            };
            links.insert(region.clone(), Link::start(region, dialer));
        }
        Ok(Arc::new(Self { links, routing, turn: AtomicUsize::new(0) }))
    }

    /// The known leaders.
    pub fn routing(&self) -> MutexGuard<'_, Routing> {
        self.routing.lock()
    }

    /// The connected vaults in the order in which a stream tries them: those that claim to lead the route's shard, then the others. If several claim it, each call
    /// begins with another one: a lying vault that answers nothing gets only a part of the streams.
    pub fn candidates(&self, route: &Route) -> Vec<Arc<Link>> {
        let shard = self.routing().shard(route);
        let mut candidates = shard.map(|shard| self.leaders(shard)).unwrap_or_default();
        for link in self.connected() {
            if !candidates.iter().any(|known| known.region() == link.region()) {
                candidates.push(link);
            }
        }
        candidates
    }

    /// The connected vaults that claim to lead a shard. Each call begins with another one.
    pub fn leaders(&self, shard: u16) -> Vec<Arc<Link>> {
        let leaders: Vec<String> = self.routing().leaders(shard).into_iter().map(str::to_owned).collect();
        let links = leaders.iter().filter_map(|region| self.links.get(region));
        let mut links: Vec<Arc<Link>> = links.filter(|l| l.is_up()).cloned().collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let first = turn.checked_rem(links.len()).unwrap_or(0);
        links.rotate_left(first);
        links
    }

    /// The connected vaults, by region.
    pub fn connected(&self) -> Vec<Arc<Link>> {
        self.links.values().filter(|l| l.is_up()).cloned().collect()
    }

    /// Number of connected vaults.
    pub fn up(&self) -> usize {
        self.links.values().filter(|l| l.is_up()).count()
    }
}
