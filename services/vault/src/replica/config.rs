//! A node's settings, and the clock, randomness, network and volumes that it uses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bkv_config::vault::{Network as Distances, Timings, Volume};
use bkv_core::version::Versions;

use crate::env::{Clock, Network, Random};
use crate::volume::{OsVolumes, Volumes};

/// A node's settings.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Folder of the store.
    pub data: PathBuf,
    /// Address on which peers connect.
    pub peer_listen: SocketAddr,
    /// Region → `host:port` of the other vaults.
    pub peers: BTreeMap<String, String>,
    /// Number of Raft groups.
    pub shards: u16,
    /// Heartbeats, elections and snapshots.
    pub raft: Timings,
    /// How far the other vaults may be away.
    pub network: Distances,
    /// How much of the store's volume stays free.
    pub volume: Volume,
    /// How long a replica that catches up waits for a log that another vault reports and no leader delivers.
    pub patience: Duration,
    /// The versions of the state that the program can apply. Simulations play other programs.
    pub versions: Versions,
}

/// Longer than an election and a restart of the vault that has the entries.
const PATIENCE: Duration = Duration::from_secs(30);

impl NodeConfig {
    /// Settings with the default timings.
    pub fn new(data: PathBuf, peer_listen: SocketAddr, peers: BTreeMap<String, String>, shards: u16) -> Self {
        let (raft, network, volume) = (Timings::default(), Distances::default(), Volume::default());
        let versions = Versions::OF_THIS_PROGRAM;
        Self { data, peer_listen, peers, shards, raft, network, volume, patience: PATIENCE, versions }
    }

    /// Time between snapshots.
    pub(super) const fn snapshot_every(&self) -> Duration {
        Duration::from_secs(self.raft.snapshot_every_s)
    }
}

/// The clock, randomness, network and volumes of a node.
#[derive(Clone)]
pub struct Env {
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Network.
    pub network: Arc<dyn Network>,
    /// Volumes.
    pub volumes: Arc<dyn Volumes>,
}

impl Default for Env {
    fn default() -> Self {
        Self {
            clock: Arc::new(crate::env::SystemClock),
            random: Arc::new(crate::env::OsRandom),
            network: Arc::new(crate::env::Tcp),
            volumes: Arc::new(OsVolumes),
        }
    }
}
