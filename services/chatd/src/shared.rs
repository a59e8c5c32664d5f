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

use crate::fleet::FleetCache;
use crate::limits::{Buckets, Counts, Rate};
use crate::metrics::Metrics;
use crate::projection::Metadata;
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
    pub fleet: FleetCache,
    /// The configured limits.
    pub limits: Limits,
    /// ChatD's metrics.
    pub metrics: Metrics,
    /// Cancelled when ChatD drains.
    pub drain: CancellationToken,
    rates: Mutex<Buckets<Route>>,
    accounts: Mutex<Counts<Route>>,
    address_rates: Mutex<Buckets<IpAddr>>,
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
            fleet: FleetCache::default(),
            limits,
            metrics,
            drain,
            rates: Mutex::new(Buckets::new(rate, REMEMBERED)),
            accounts: Mutex::new(Counts::new(limits.connections_per_account)),
            address_rates: Mutex::new(Buckets::new(address, REMEMBERED)),
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

    /// True if the account may send one more frame or request from this address. Account and address have separate budgets.
    pub(crate) fn may_send(&self, route: &Route, caller: &Caller) -> bool {
        self.may_call(caller.address) && self.rates.lock().take(*route, self.now())
    }

    /// True if the address may make ChatD do one more piece of work before the account is known: a handshake or a signature check.
    pub(crate) fn may_call(&self, address: IpAddr) -> bool {
        self.address_rates.lock().take(address, self.now())
    }

    /// Counts a new socket. None if a limit is reached.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Arc<Caller>> {
        let room = self.room.clone().try_acquire_owned().ok()?;
        let counted = self.may_call(address) && self.addresses.lock().enter(address);
        counted.then(|| Arc::new(Caller { shared: self.clone(), address, _room: room }))
    }

    /// Counts a new connection of an account. None if the account has too many.
    pub(crate) fn connect(self: &Arc<Self>, route: Route) -> Option<Entered> {
        let entered = self.accounts.lock().enter(route);
        entered.then(|| Entered(self.clone(), route))
    }
}

/// One socket. It is counted until its last user drops it. After an upgrade that is the WebSocket's task, because the HTTP server's task then ends.
pub(crate) struct Caller {
    shared: Arc<Shared>,
    pub(crate) address: IpAddr,
    _room: OwnedSemaphorePermit,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.shared.addresses.lock().leave(&self.address);
    }
}

/// One connection of an account. Dropping it ends the count, however the connection ends.
pub(crate) struct Entered(Arc<Shared>, Route);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.accounts.lock().leave(&self.1);
    }
}
