//! Links to the vaults, one per region. All clients' streams share them.

mod link;

pub use link::{Link, VaultStream};

use std::collections::BTreeMap;
use std::sync::Arc;

use bkv_core::id::Route;
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
}

impl Vaults {
    /// Connects to every region until `stop`, and reconnects. `tls` returns the TLS configuration for a region's name.
    pub fn start(
        addresses: &BTreeMap<String, String>,
        tls: impl Fn(&str) -> Result<Arc<rustls::ClientConfig>, bkv_mtls::Error>,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Arc<Self>, bkv_mtls::Error> {
        let routing = Arc::new(Mutex::new(Routing::new()));
        let mut links = BTreeMap::new();
        for (region, address) in addresses {
            let connector = TlsConnector::from(tls(region)?);
            let link = Link::start(region, address, connector, routing.clone(), stop, tasks);
            links.insert(region.clone(), link);
        }
        Ok(Arc::new(Self { links, routing }))
    }

    /// The known leaders.
    pub fn routing(&self) -> MutexGuard<'_, Routing> {
        self.routing.lock()
    }

    /// The vault to try for a route: the leader if it is known and connected, otherwise another connected vault at each turn.
    pub fn pick(&self, route: &Route, turn: usize) -> Option<Arc<Link>> {
        let leader = {
            let routing = self.routing();
            routing.shard(route).and_then(|s| routing.leader(s).map(str::to_owned))
        };
        let known = leader.and_then(|region| self.links.get(&region)).filter(|l| l.is_up());
        known.cloned().or_else(|| {
            let up: Vec<&Arc<Link>> = self.links.values().filter(|l| l.is_up()).collect();
            up.get(turn.checked_rem(up.len())?).map(|l| Arc::clone(l))
        })
    }

    /// The link to a shard's leader. None unless the leader is known and connected.
    pub fn leader(&self, shard: u16) -> Option<Arc<Link>> {
        let region = self.routing().leader(shard)?.to_owned();
        self.links.get(&region).filter(|l| l.is_up()).cloned()
    }

    /// Any connected vault.
    pub fn any(&self) -> Option<Arc<Link>> {
        self.links.values().find(|l| l.is_up()).cloned()
    }

    /// Number of connected vaults.
    pub fn up(&self) -> usize {
        self.links.values().filter(|l| l.is_up()).count()
    }
}
