//! Receives a snapshot from another vault. Its certificate is checked before its first row is stored, and its digest before it is installed. Whatever is wrong with
//! it, it is dropped and its sender is named: one peer's snapshot never halts a shard.

use bkv_core::checkpoint::{Lists, Uncertified};
use bkv_core::id::NodeId;
use bkv_core::shard::Shard;
use bkv_core::snapshot::{Contradiction, judge_documents, judge_head};
use bkv_wire::proto::peer as p;
use openraft::Snapshot;
use tokio::time::Instant;

use super::admissible::{Inadmissible, refuse};
use super::context::Context;
use super::handle::Replica;
use super::staging::Stream;
use crate::peer::Body;
use crate::raft::bounds::OutOfBounds;
use crate::raft::machine::meta_of;
use crate::raft::sizes::ROW;
use crate::raft::snapshot::{Head, HeadError, Received, Row, SnapshotData, log_id_of};
use crate::raft::stage::{Refused, Stage};
use crate::raft::transfer::{blocking, whole};
use crate::raft::types::{Raft, Vote, vote_in, vote_out};

/// Why a snapshot is refused.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("a snapshot of another shard")]
    Shard,
    #[error("a membership that can't be decoded")]
    Membership,
    #[error("a snapshot under admission list {0}, and this vault has {1}")]
    OldList(u64, u64),
    #[error(transparent)]
    Bounds(#[from] OutOfBounds),
    #[error(transparent)]
    Inadmissible(#[from] Inadmissible),
    #[error("a snapshot contradicts this replica: {0}")]
    Contradiction(#[from] Contradiction),
    #[error("a snapshot without a certificate: {0}")]
    Uncertified(#[from] Uncertified),
    #[error("left behind: {0}")]
    Version(String),
    #[error("a chunk of another snapshot, or out of order")]
    OutOfOrder,
    #[error("a row of a snapshot can't be decoded")]
    Row,
    #[error("a row of a snapshot has {0} bytes, at most {ROW} are possible")]
    LargeRow(usize),
    #[error("this vault has no room for a snapshot: free space on its volume")]
    NoRoom,
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Context {
    /// Stages a chunk. With the last one the snapshot is compared with its certificate and handed to Raft.
    pub(super) async fn snapshot(&self, from: NodeId, chunk: p::SnapshotChunk) -> Body {
        let Some(r) = self.shard(chunk.shard) else { return refuse("unknown shard") };
        if let Some(stop) = r.state.log.stopped() {
            return refuse(format!("stopped: {stop}"));
        }
        let raft = r.raft.borrow().clone();
        let Some(raft) = raft else { return refuse(r.not_begun()) };
        let Ok(vote) = vote_in(chunk.vote) else { return refuse("malformed vote") };
        if vote.leader_id.node_id != from.0 {
            return refuse("a snapshot in another node's name");
        }
        if !vote.committed {
            return refuse("a snapshot under a vote that no majority gave");
        }
        if let Err(error) = self.bounds().vote(&vote) {
            return refuse(error.to_string());
        }
        if let Some(why) = self.refusal(r.state.shard, from, vote.leader_id.term) {
            return refuse(why);
        }
        let answer = |vote| Body::SnapshotAnswer(p::SnapshotAnswer { vote: Some(vote_out(&vote)) });
        // As for entries: a snapshot from a former leader is no contradiction. The answer contains the newer vote.
        if let Some(newer) = r.newer_vote(&vote) {
            return answer(newer);
        }
        if let Err(error) = self.check_mandate(r, from, &vote, &chunk.votes) {
            return refuse(error.to_string());
        }
        let before = self.staging.take(r.state.shard, from);
        let mut stream = match self.stream(r, before, &chunk) {
            Ok(stream) => stream,
            Err(error) => return self.name(r, from, &vote, &error),
        };
        let result = self.stage(r, &mut stream, &chunk).await;
        let received = match result {
            Ok(None) => {
                if !chunk.last {
                    stream.next += 1;
                    stream.touched = Instant::now();
                    if let Some(old) = self.staging.put(r.state.shard, from, stream) {
                        self.discard(r, old);
                    }
                }
                return answer(vote);
            }
            Ok(Some(received)) => received,
            Err(error) => {
                self.discard(r, stream);
                return self.name(r, from, &vote, &error);
            }
        };
        let (new, old) = (received.copy, r.state.live());
        let installed = install(&raft, vote, received).await;
        // Raft may have had no use for it.
        self.drop_copy(r, if r.state.is_live(new) { old } else { new });
        match installed {
            Ok(vote) => answer(vote),
            Err(error) => refuse(error),
        }
    }

    /// The stream to which a chunk belongs.
    fn stream(&self, r: &Replica, before: Option<Stream>, chunk: &p::SnapshotChunk) -> Result<Stream, Unfit> {
        match before {
            Some(s) if chunk.number > 0 && s.continues(chunk.stream, chunk.number) => return Ok(s),
            Some(old) => self.discard(r, old),
            None => {}
        }
        if chunk.number > 0 {
            return Err(Unfit::OutOfOrder);
        }
        let (stage, now) = (self.begin(r, &chunk.head)?, Instant::now());
        // The sender gives up after half of this time. Without a stage nothing is kept, so time costs nothing.
        let limit = 2 * whole(stage.as_ref().map_or(u64::MAX, Stage::rows));
        Ok(Stream { number: chunk.stream, next: 0, stage, end: now + limit, touched: now })
    }

    /// Checks the first part. None if all of the snapshot is applied here already.
    fn begin(&self, r: &Replica, head: &[u8]) -> Result<Option<Stage>, Unfit> {
        let head = Head::read(head)?;
        let c = head.checkpoint();
        if c.shard != r.state.shard {
            return Err(Unfit::Shard);
        }
        self.bounds().id(&log_id_of(c))?;
        // As for entries: one message with a time in the future would end every wait and deadline of the shard.
        self.in_time("a snapshot", c.time)?;
        let membership = head.membership.stored().map_err(|_| Unfit::Membership)?;
        self.whole(membership.membership())?;
        if c.index <= r.applied() {
            return Ok(None);
        }
        let verifier = r.state.verifier.as_ref();
        // The rest of the head is compared by the digest, at the last row. The version decides before that.
        if head.fleet.version != c.version {
            return Err(Contradiction::Head.into());
        }
        judge_documents(&head.fleet, verifier)?;
        let theirs = Shard { fleet: Some(head.fleet.clone()), time: c.time, unconfirmed: 0 };
        judge_head(r.state.shard, &r.state.head(), &theirs)?;
        let list = &head.fleet.documents.admission;
        // The list in force here or its predecessor: under an older one another t may have been enough.
        let here = self.admitted.get();
        let obeyed = here.as_deref().unwrap_or(list);
        if list.number.saturating_add(1) < obeyed.number {
            return Err(Unfit::OldList(list.number, obeyed.number));
        }
        let me = list.node(self.node).map(|m| m.slot);
        head.certificate.check(Lists::new(list, obeyed), me, verifier)?;
        if !r.state.versions.contains(head.fleet.version) {
            r.certified_at(head.fleet.version);
            return Err(Unfit::Version(r.state.versions.cannot(head.fleet.version)));
        }
        Ok(Some(r.state.stage(head, me)))
    }

    /// Each chunk is asked anew: the volume fills while snapshots arrive.
    fn has_room(&self) -> Result<(), Unfit> {
        if self.volume.may_stage() { Ok(()) } else { Err(Unfit::NoRoom) }
    }

    /// Stages the rows of a chunk. Returns the snapshot with the last one.
    async fn stage(
        &self,
        r: &Replica,
        stream: &mut Stream,
        chunk: &p::SnapshotChunk,
    ) -> Result<Option<Received>, Unfit> {
        let Some(stage) = stream.stage.as_mut() else { return Ok(None) };
        self.has_room()?;
        blocking(|| {
            for row in &chunk.rows {
                if row.len() > ROW {
                    return Err(Unfit::LargeRow(row.len()));
                }
                let row: Row = minicbor::decode(row).map_err(|_| Unfit::Row)?;
                r.state.stage_row(stage, &row)?;
            }
            Ok(())
        })?;
        // The sender waits for the disk: else the memory would hold what is not written yet.
        r.state.store.flush().await.map_err(Refused::Store)?;
        if chunk.last { Ok(Some(r.state.staged(stage)?)) } else { Ok(None) }
    }

    /// Drops what is staged of snapshots whose senders have stopped.
    pub(super) fn drop_stopped_streams(&self) {
        for (shard, stream) in self.staging.take_stopped(Instant::now()) {
            tracing::warn!(shard, "a snapshot is dropped: its sender has stopped or is too slow");
            if let Some(r) = self.shard(u32::from(shard)) {
                self.discard(r, stream);
            }
        }
    }

    fn discard(&self, r: &Replica, stream: Stream) {
        if let Some(stage) = stream.stage {
            self.drop_copy(r, stage.copy());
        }
    }

    fn drop_copy(&self, r: &Replica, copy: u32) {
        let state = r.state.clone();
        self.tasks.spawn(async move {
            if let Err(error) = state.drop_copy(copy).await {
                tracing::warn!(shard = state.shard, %error, "a dropped snapshot is still on the disk");
            }
        });
    }

    fn name(&self, r: &Replica, from: NodeId, vote: &Vote, error: &Unfit) -> Body {
        r.state.book.counts.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let region = self.admitted.get().and_then(|l| l.node(from).map(|m| m.region.clone()));
        tracing::error!(shard = r.state.shard, node = from.0, region, %error, "a snapshot is refused");
        let why = error.to_string();
        if matches!(error, Unfit::Contradiction(_) | Unfit::Refused(Refused::Contradiction(_))) {
            self.contradictions.note(r.state.shard, from, vote.leader_id.term, &why);
        }
        refuse(why)
    }
}

async fn install(raft: &Raft, vote: Vote, received: Received) -> Result<Vote, String> {
    let meta = meta_of(received.head.checkpoint(), &received.head.membership).map_err(|e| e.to_string())?;
    let snapshot = Box::new(SnapshotData::Received(Box::new(received)));
    let done = raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await;
    done.map(|a| a.vote).map_err(|e| e.to_string())
}
