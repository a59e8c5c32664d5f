//! One vault of a simulation: a token and a disk that outlive its process, and the process, which a test may kill at any moment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bkv_core::version::Versions;
use bkv_hsm::{Token, VaultName};
use bkv_wire::channel::ServerSettings;
use bkv_wire::documents::Root;
use bkv_wire::verifier::WireVerifier;
use redb::Database;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::clock::TestClock;
use crate::disk::{Disk, Fault, Image};
use crate::documents::region;
use crate::faulty_keeper::{Faults, FaultyKeeper};
use crate::held_export::{Exports, HeldExport};
use crate::network::{Hub, address};
use crate::witness::Witness;
use bkv_vault::anchor;
use bkv_vault::chores::chores;
use bkv_vault::env::OsRandom;
use bkv_vault::keeper::TokenKeeper;
use bkv_vault::metrics::Metrics;
use bkv_vault::replica::{Env, Node, NodeConfig};
use bkv_vault::run::{EPOCH, TokenKeys, delivery_key};
use bkv_vault::service::{Custody, Parts, Vault};
use bkv_vault::store::{DataKeys, Store};

/// What survives the process.
pub struct Machine {
    pub number: usize,
    pub token: Token,
    pub clock: TestClock,
    pub role: Arc<bkv_mtls::Identity>,
    pub root: Root,
    pub hub: Hub,
    pub witness: Arc<Witness>,
    pub folder: PathBuf,
    pub chores: bool,
    /// Seconds between purges of the log.
    pub snapshot_every_s: Option<u64>,
    /// What is wrong with the secrets that its keeper keeps.
    pub secrets: Faults,
    /// The versions of the state that its program can apply, from its next start on.
    pub versions: Mutex<Versions>,
    /// The rows that its keeper reads for snapshots.
    pub exports: Arc<Exports>,
}

/// A running vault. Its tasks have a runtime of their own, which ends like a killed process: without any clean-up.
pub struct Process {
    pub vault: Arc<Vault>,
    pub disk: Disk,
    pub alive: Arc<AtomicBool>,
    runtime: Option<Runtime>,
    stop: CancellationToken,
}

impl Machine {
    pub fn keys(&self) -> Arc<dyn DataKeys> {
        Arc::new(TokenKeys(self.token.clone()))
    }

    pub fn store(&self, disk: Disk) -> Store {
        let db = Database::builder().create_with_backend(disk).unwrap();
        Store::over(db, &self.keys(), &OsRandom).unwrap()
    }

    /// Assembles a vault as `run::run` does, over this disk.
    pub async fn start(&self, image: Image, fault: Fault) -> Process {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let disk = Disk::from_image(image);
        disk.set(fault);
        let store = self.store(disk.clone());
        let peers: BTreeMap<String, String> = (0..3).map(|i| (region(i), address(i).to_string())).collect();
        let mut config = NodeConfig::new(PathBuf::new(), address(self.number), peers, 1);
        config.raft.heartbeat_ms = 80;
        config.versions = *self.versions.lock().unwrap();
        config.volume.reserve_mib = 0; // the store has no folder
        (config.raft.election_min_ms, config.raft.election_max_ms) = (300, 500);
        config.raft.snapshot_every_s = self.snapshot_every_s.unwrap_or(config.raft.snapshot_every_s);
        let keeper = Arc::new(TokenKeeper::new(self.token.clone(), Arc::new(OsRandom)));
        let env = Env {
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(OsRandom),
            network: self.hub.network_of(self.number),
            volumes: Arc::new(disk.clone()),
        };
        let key = self.token.rustls_certified_key().unwrap();
        let stop = CancellationToken::new();
        let assembled = {
            let (token, root, role) = (self.token.clone(), self.root.clone(), self.role.clone());
            let (witness, stop, name) = (self.witness.clone(), stop.clone(), region(self.number));
            let (clock, does_chores) = (env.clock.clone(), self.chores);
            let (faults, exports) = (self.secrets.clone(), self.exports.clone());
            async move {
                let verifier = Arc::new(WireVerifier::new(root.clone()));
                let inner = FaultyKeeper { honest: keeper.clone(), faults };
                let secrets = Arc::new(HeldExport { inner, exports });
                let node = Node::over(store, config, env, key.clone(), secrets, verifier);
                let node = node.await.unwrap();
                anchor::take(&node, &token, true).await.unwrap();
                let delivery = delivery_key(&node).await.unwrap();
                let delivery_public = *delivery.public();
                keeper.set_delivery(delivery);
                let vault = Vault::new(Parts {
                    region: name,
                    custody: Custody::pinned(root),
                    node,
                    token,
                    keeper,
                    delivery_public,
                    clock,
                    random: Arc::new(OsRandom),
                    channel: ServerSettings::new(key).unwrap(),
                    role,
                    jwks_ca_file: None,
                    metrics: Metrics::new().unwrap(),
                    observer: witness,
                });
                vault.restore_documents(&stop).await.unwrap();
                if does_chores {
                    tokio::spawn(chores(vault.clone(), stop.clone()));
                }
                vault
            }
        };
        let vault = runtime.spawn(assembled).await.unwrap();
        Process { vault, disk, alive: Arc::new(AtomicBool::new(true)), runtime: Some(runtime), stop }
    }
}

impl Process {
    pub fn handle(&self) -> tokio::runtime::Handle {
        self.runtime.as_ref().unwrap().handle().clone()
    }

    pub fn alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    /// Ends in order, as `run::run` does, and leaves an anchor in the token if it may. Returns what the disk holds.
    pub async fn stop_in_order(self) -> Image {
        self.stop.cancel();
        let vault = self.vault.clone();
        let ends = self.handle().spawn(async move {
            let ended = vault.shutdown().await;
            assert!(ended.in_order);
            anchor::leave(vault.node(), vault.token(), &OsRandom, ended).await.unwrap();
        });
        ends.await.unwrap();
        self.disk.image()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::SeqCst);
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Provisions a token for its vault.
pub async fn provision(dir: PathBuf, i: usize, call_deadline_ms: u64) -> Token {
    let config = crate::token::config(&dir, i, call_deadline_ms);
    let name = VaultName::new(&region(i)).unwrap();
    let token = tokio::task::spawn_blocking(move || Token::connect(&config, &name)).await.unwrap().unwrap();
    token.provision().await.unwrap();
    token.epoch_create(EPOCH).await.unwrap();
    token
}
