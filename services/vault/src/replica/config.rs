//! What a node is told at its start: its settings and the world that it lives in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::env::{Clock, Network, Random};

/// See [`NodeConfig::snapshot_every`].
const SNAPSHOT_EVERY: Duration = Duration::from_mins(5);

/// What a node needs to know.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Folder of the store.
    pub data: PathBuf,
    /// Where peers reach it.
    pub peer_listen: SocketAddr,
    /// Region → `host:port` of the others.
    pub peers: BTreeMap<String, String>,
    /// Number of Raft groups.
    pub shards: u16,
    /// Between heartbeats, milliseconds.
    pub heartbeat_ms: u64,
    /// A follower stands for election after a silence of the second and a random time between the two (openraft's lease and timeout), milliseconds.
    pub election_ms: (u64, u64),
    /// Entries after which the log is snapshotted and purged.
    pub snapshot_entries: u64,
    /// At the second turn after an entry it has left the log, however few there are: z, sealed shares and ciphertexts stay in it no longer than twice this.
    pub snapshot_every: Duration,
}

impl NodeConfig {
    /// With the usual timings.
    pub fn new(data: PathBuf, peer_listen: SocketAddr, peers: BTreeMap<String, String>, shards: u16) -> Self {
        Self {
            data,
            peer_listen,
            peers,
            shards,
            heartbeat_ms: 100,
            election_ms: (200, 300),
            snapshot_entries: 4096,
            snapshot_every: SNAPSHOT_EVERY,
        }
    }
}

/// The world that a node lives in.
#[derive(Clone)]
pub struct Env {
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Network.
    pub network: Arc<dyn Network>,
}

impl Default for Env {
    fn default() -> Self {
        Self {
            clock: Arc::new(crate::env::SystemClock),
            random: Arc::new(crate::env::OsRandom),
            network: Arc::new(crate::env::Tcp),
        }
    }
}
