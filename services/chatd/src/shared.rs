//! State shared by all handlers: links, tokens, limits, counts of connections.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bkv_config::chatd::Limits;
use bkv_core::id::Route;
use bkv_mtls::{Identity, WebIdentity};
use bkv_net::Tasks;
use bkv_tokens::Verifier;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bundle_cache::BundleCache;
use crate::client_address::{Proxies, neighbourhood};
use crate::limits::{Buckets, Counts, Rate};
use crate::metrics::Metrics;
use crate::projection::Metadata;
use crate::underway::Underway;
use crate::vaults::Vaults;

/// Most accounts and most addresses in the tables of the limits.
const REMEMBERED: usize = 200_000;

/// State shared by all handlers.
#[derive(Debug)]
pub struct Shared {
    /// Links to vaults.
    pub vaults: Arc<Vaults>,
    /// Verifies access tokens for ChatD.
    pub tokens: Verifier,
    /// Key metadata in Postgres.
    pub metadata: Metadata,
    /// The fleet's bundle.
    pub bundles: Arc<BundleCache>,
    /// The proxies in front of the public port.
    pub proxies: Proxies,
    /// Bytes on their way to vaults.
    pub underway: Underway,
    /// The configured limits.
    pub limits: Limits,
    /// ChatD's metrics.
    pub metrics: Metrics,
    /// Cancelled when ChatD drains.
    pub drain: CancellationToken,
    rates: Mutex<Buckets<Route>>,
    accounts: Mutex<Counts<Route>>,
    address_rates: Mutex<Buckets<IpAddr>>,
    /// For the fleet's documents behind a proxy.
    document_rates: Mutex<Buckets<IpAddr>>,
    addresses: Mutex<Counts<IpAddr>>,
    room: Arc<Semaphore>,
    /// WebSocket connections. axum starts their tasks.
    pub(crate) websockets: TaskTracker,
    pub(crate) writers: TaskTracker,
    pub(crate) streams: TaskTracker,
    pub(crate) certificates: (Arc<Identity>, Arc<WebIdentity>),
    started: Instant,
}

impl Shared {
    /// Starts with empty counts.
    #[allow(clippy::too_many_arguments)] // the parts of ChatD, each once
    pub fn new(
        vaults: Arc<Vaults>,
        tokens: Verifier,
        metadata: Metadata,
        proxies: Proxies,
        limits: Limits,
        metrics: Metrics,
        drain: CancellationToken,
        certificates: (Arc<Identity>, Arc<WebIdentity>),
        tasks: &Tasks,
    ) -> Arc<Self> {
        let address = Rate { per_second: limits.address_per_second, burst: limits.address_burst };
        let rate = Rate { per_second: limits.frames_per_second, burst: limits.frames_burst };
        Arc::new(Self {
            vaults,
            tokens,
            metadata,
            bundles: Arc::default(),
            proxies,
            underway: Underway::default(),
            limits,
            metrics,
            drain,
            rates: Mutex::new(Buckets::new(rate, REMEMBERED)),
            accounts: Mutex::new(Counts::new(limits.connections_per_account)),
            address_rates: Mutex::new(Buckets::new(address, REMEMBERED)),
            document_rates: Mutex::new(Buckets::new(address, REMEMBERED)),
            addresses: Mutex::new(Counts::new(limits.connections_per_address)),
            room: Arc::new(Semaphore::new(usize::try_from(limits.connections).unwrap_or(usize::MAX >> 3))),
            websockets: tasks.group("WebSockets"),
            writers: tasks.group("WebSocket writers"),
            streams: tasks.group("client streams"),
            certificates,
            started: Instant::now(),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// True if the account may send one more frame or request. Only the account's own budget counts: others at its address can't use it up.
    pub(crate) fn may_send(&self, route: &Route) -> bool {
        self.rates.lock().take(*route, self.now())
    }

    /// True if the address may make ChatD do one more piece of work before the account is known: a handshake or a signature check.
    pub(crate) fn may_call(&self, address: IpAddr) -> bool {
        self.address_rates.lock().take(neighbourhood(address), self.now())
    }

    /// True if a client behind a trusted proxy may have the fleet's documents once more.
    pub(crate) fn may_fetch(&self, address: IpAddr) -> bool {
        self.document_rates.lock().take(neighbourhood(address), self.now())
    }

    /// Room for one more socket. None if ChatD is full.
    pub(crate) fn room(&self) -> Option<OwnedSemaphorePermit> {
        self.room.clone().try_acquire_owned().ok()
    }

    /// Counts one more connection of an address. None if it has too many.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<AtAddress> {
        let address = neighbourhood(address);
        let counted = self.addresses.lock().enter(address);
        counted.then(|| AtAddress(self.clone(), address))
    }

    /// Counts a new connection of an account. None if the account has too many.
    pub(crate) fn connect(self: &Arc<Self>, route: Route) -> Option<Entered> {
        let entered = self.accounts.lock().enter(route);
        entered.then(|| Entered(self.clone(), route))
    }
}

/// One connection of an address. Dropping it ends the count.
#[derive(Debug)]
pub(crate) struct AtAddress(Arc<Shared>, IpAddr);

impl Drop for AtAddress {
    fn drop(&mut self) {
        self.0.addresses.lock().leave(&self.1);
    }
}

/// One connection of an account. Dropping it ends the count, however the connection ends.
pub(crate) struct Entered(Arc<Shared>, Route);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.accounts.lock().leave(&self.1);
    }
}
