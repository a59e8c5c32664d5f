//! Signs the checkpoints of all shards, sends them to the other regions, and takes theirs. Shows them what leaders have signed, too. One task for all shards.

use std::sync::Arc;
use std::time::Duration;

use bkv_core::batch::Batch;
use bkv_core::checkpoint::{Certificate, Checkpoint, Lists, begins_step};
use bkv_core::document::Admission;
use bkv_core::encoding::cbor;
use bkv_core::id::{NodeId, Signature, Slot, Time};
use bkv_core::signature::RegionSignature;
use bkv_core::statement;
use bkv_wire::proto::peer as p;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::{Instant, timeout};

use super::admissible::refuse;
use super::context::Context;
use super::handle::Replica;
use super::status::Phase;
use crate::peer::Body;
use crate::raft::types::Payload;

/// Pause between rounds in which nothing has changed: what a peer has not got is sent again.
const ROUND: Duration = Duration::from_secs(1);
/// How often the views of quiet shards are renewed, and snapshots whose senders have stopped are dropped.
const REFRESH: Duration = Duration::from_secs(10);
/// Time limit of a call, beside its round trip.
const CALL: Duration = Duration::from_secs(1);
/// Time limit of an entry that makes a checkpoint, beside two round trips: one for the entry before it.
const ENTRY: Duration = Duration::from_secs(2);
/// Most bytes of a certificate between vaults: seven signatures and some room.
const LONGEST: usize = 8192;

/// Runs until the node stops.
pub(super) async fn certify(inner: Arc<Context>) {
    let mut refresh = Instant::now();
    loop {
        let _ = timeout(ROUND, inner.wake.notified()).await;
        if Instant::now() >= refresh {
            refresh = Instant::now() + REFRESH;
            inner.replicas.iter().for_each(|r| r.state.refresh_view());
            inner.drop_stopped_streams();
        }
        let Some(list) = inner.admitted.get() else { continue };
        let mut calls: Vec<BoxFuture<'_, ()>> = Vec::new();
        for r in &inner.replicas {
            if r.state.book.is_wanted() {
                inner.tasks.spawn(mark(inner.clone(), r.clone()));
            }
            inner.sign(r, &list);
            calls.extend(inner.send(r, &list).into_iter().map(|call| Box::pin(call) as BoxFuture<'_, ()>));
            calls.extend(inner.show(r, &list));
        }
        join_all(calls).await;
    }
}

/// Makes a checkpoint, if this vault leads: a batch without commands. Too soon behind the last entry it would be none, and the caller comes again.
pub(super) async fn mark(inner: Arc<Context>, r: Replica) {
    let raft = r.raft.borrow().clone().filter(|_| r.status.borrow().lead);
    let time = Time(inner.clock.now_ms());
    if let Some(raft) = raft.filter(|_| begins_step(r.state.time(), time)) {
        let batch = Batch { version: r.state.encodes(), time, commands: Vec::new() };
        let _ =
            timeout(inner.peers.timing().limit(ENTRY, 2), raft.client_write(Payload(cbor(&batch).into())))
                .await;
    }
}

impl Context {
    fn slot(&self, list: &Admission) -> Option<Slot> {
        list.node(self.node).map(|m| m.slot)
    }

    /// Signs the checkpoints that a verified replica has reached.
    fn sign(&self, r: &Replica, list: &Admission) {
        let (Some(me), Some(service)) = (self.slot(list), self.service.get()) else { return };
        if r.status.borrow().phase != Phase::Verified {
            return;
        }
        for checkpoint in r.state.book.unsigned(me) {
            let statement = statement::checkpoint(&checkpoint, me);
            let Some((certificate, signature)) = service.sign(&statement) else { return };
            let Ok(signature) = Signature::try_from(&signature[..]) else { return };
            let signature = RegionSignature { slot: me, certificate: certificate.to_vec(), signature };
            self.take(r, &Certificate { checkpoint, signatures: vec![signature] });
        }
    }

    /// The calls that bring this vault's signature to those who have not got it.
    fn send<'a>(&'a self, r: &'a Replica, list: &Admission) -> Vec<impl Future<Output = ()> + 'a> {
        let Some(me) = self.slot(list) else { return Vec::new() };
        let peers: Vec<NodeId> = list.members.iter().map(|m| m.node).filter(|n| *n != self.node).collect();
        let untold = r.state.book.untold(me, &peers).into_iter();
        untold.map(|(node, certificate)| self.tell(r, node, certificate)).collect()
    }

    async fn tell(&self, r: &Replica, node: NodeId, certificate: Certificate) {
        let index = certificate.checkpoint.index;
        let call = Body::Checkpoint(p::Checkpoint { certificate: cbor(&certificate).into() });
        if let Ok(Body::CheckpointAnswer(a)) = self.peers.call(node, call, self.peers.deadline(CALL, 1)).await
        {
            r.state.book.told(node, index);
            if let Some(theirs) = read(&a.certificate) {
                self.take(r, &theirs);
            }
        }
    }

    /// Another vault's signatures. The answer has this vault's own at the same place.
    pub(super) fn checkpoint(&self, given: &p::Checkpoint) -> Body {
        let Some(given) = read(&given.certificate) else { return refuse("a malformed certificate") };
        let Some(r) = self.shard(u32::from(given.checkpoint.shard)) else { return refuse("unknown shard") };
        self.take(r, &given);
        let own = r.state.book.own_at(&given.checkpoint);
        let certificate = own.as_ref().map(cbor).unwrap_or_default().into();
        Body::CheckpointAnswer(p::CheckpointAnswer { certificate })
    }

    fn take(&self, r: &Replica, given: &Certificate) {
        let Some(list) = self.list_of(r, &given.checkpoint) else { return };
        if given.checkpoint.shard != r.state.shard {
            return;
        }
        let obeyed = self.admitted.get();
        let lists = Lists::new(&list, obeyed.as_ref().unwrap_or(&list));
        let change = r.state.book.take(given, lists, self.slot(&list), r.state.verifier.as_ref());
        if change.certified {
            r.state.keep_certified();
        }
        if let Some(index) = change.contradicted {
            r.halt(format!("t other regions have signed another state at {index}: this replica's is wrong"));
        }
    }

    /// The admission list by which a checkpoint is judged: the one in force at its index.
    fn list_of(&self, r: &Replica, c: &Checkpoint) -> Option<Arc<Admission>> {
        let applied = r.fleet().map(|f| Arc::new(f.documents.admission.clone()));
        [applied, self.admitted.get()].into_iter().flatten().find(|l| l.number == c.list)
    }
}

pub(super) fn read(bytes: &[u8]) -> Option<Certificate> {
    (bytes.len() <= LONGEST).then(|| minicbor::decode(bytes).ok()).flatten()
}
