//! State shared by the tasks of a node.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use bkv_core::id::NodeId;
use bkv_core::join::LogPosition;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::task::TaskTracker;

use super::config::NodeConfig;
use super::equivocation::Shown;
use super::handle::Replica;
use super::staging::Staging;
use crate::env::Clock;
use crate::peer::{Admitted, Body, Peers};
use crate::raft::appended::{Signatures, Signer};
use crate::raft::contradictions::Contradictions;
use crate::raft::equivocators::Equivocators;
use crate::raft::network::Acknowledged;
use crate::raft::transfer::Transfers;
use crate::raft::types::{LogId, Vote};
use crate::store::Store;
use crate::volume::Volume;

/// Answers calls of other vaults that are not about Raft.
#[async_trait::async_trait]
pub trait PeerService: Send + Sync + 'static {
    /// The answer, or `Failed`.
    async fn handle(&self, from: NodeId, body: Body) -> Body;
    /// The boot key's certificate, and its signature over a statement. None before there is one.
    fn sign(&self, statement: &[u8]) -> Option<(Bytes, Bytes)>;
}

pub(super) struct Context {
    /// Every task of the node; openraft's own count too, by the state and the log that they hold.
    pub(super) tasks: TaskTracker,
    pub(super) node: NodeId,
    pub(super) config: NodeConfig,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) admitted: Admitted,
    pub(super) peers: Peers,
    pub(super) replicas: Vec<Replica>,
    pub(super) acknowledged: Acknowledged,
    pub(super) service: Arc<OnceLock<Arc<dyn PeerService>>>,
    /// Signs what this vault appends as a leader.
    pub(super) signer: Signer,
    /// Checks what other leaders have signed.
    pub(super) signatures: Signatures,
    pub(super) joined: AtomicBool,
    /// The token's anchor has shown that the store is the one of the last orderly stop.
    pub(super) anchored: AtomicBool,
    /// Set once this process can't go on. It must end and start again from its disk.
    pub(super) fatal: watch::Sender<Option<String>>,
    /// How often a replica of this vault became leader.
    pub(super) elections: AtomicU64,
    /// For each shard that catches up: the log position that a candidate must have reached to get this vault's vote.
    pub(super) until: Mutex<HashMap<u16, LogPosition>>,
    /// Wakes the task that signs checkpoints.
    pub(super) wake: Arc<Notify>,
    /// For each shard: what this vault has signed last, and for which leader.
    pub(super) signed: Mutex<HashMap<u16, (Vote, LogId)>>,
    /// Vaults that have contradicted this one.
    pub(super) contradictions: Contradictions,
    /// Vaults that are proven to have signed two histories.
    pub(super) equivocators: Equivocators,
    /// What of that the other regions have been shown.
    pub(super) shown: Shown,
    /// Snapshots that are being sent.
    pub(super) transfers: Transfers,
    /// Snapshots that are being received.
    pub(super) staging: Staging,
    /// The store's volume.
    pub(super) volume: Arc<Volume>,
}
