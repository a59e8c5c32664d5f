//! The shard's state as openraft's state machine.

use bkv_core::checkpoint::Checkpoint;
use openraft::storage::RaftStateMachine;
use openraft::{
    EmptyNode, ErrorVerb, OptionalSend, RaftSnapshotBuilder, SnapshotMeta, StorageError, StoredMembership,
};
use tokio::time::Instant;

use super::log::io_error;
use super::rows::InForce;
use super::snapshot::{SnapshotData, log_id_of};
use super::state::State;
use super::types::{Applied, Entry, LogId, TypeConfig};

type Io<T> = Result<T, StorageError<u64>>;

/// A checkpoint as openraft's snapshot.
pub(crate) fn meta_of(
    checkpoint: &Checkpoint,
    membership: &InForce,
) -> Result<SnapshotMeta<u64, EmptyNode>, prost::DecodeError> {
    let last = log_id_of(checkpoint);
    Ok(SnapshotMeta {
        last_log_id: Some(last),
        last_membership: membership.stored()?,
        snapshot_id: format!("{}-{}", last.leader_id.term, last.index),
    })
}

impl State {
    /// The newest snapshot that openraft may count on: the newest certified checkpoint.
    fn meta(&self) -> Option<SnapshotMeta<u64, EmptyNode>> {
        let (certificate, membership) = self.book.certified()?;
        meta_of(&certificate.checkpoint, &membership).ok()
    }
}

impl RaftStateMachine<TypeConfig> for State {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Io<(Option<LogId>, StoredMembership<u64, EmptyNode>)> {
        let inner = self.lock();
        Ok((inner.applied, inner.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Io<Vec<Applied>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.run(entries).map_err(|e| io_error(ErrorVerb::Write, &e))
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Io<Box<SnapshotData>> {
        Ok(Box::new(SnapshotData::Local))
    }

    async fn install_snapshot(
        &mut self,
        _: &SnapshotMeta<u64, EmptyNode>,
        snapshot: Box<SnapshotData>,
    ) -> Io<()> {
        match *snapshot {
            SnapshotData::Local => Ok(()),
            SnapshotData::Received(r) => self.install(*r).await.map_err(|e| io_error(ErrorVerb::Write, &e)),
        }
    }

    async fn get_current_snapshot(&mut self) -> Io<Option<openraft::Snapshot<TypeConfig>>> {
        Ok(self.meta().map(|meta| openraft::Snapshot { meta, snapshot: Box::new(SnapshotData::Local) }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for State {
    /// The state is in the store already. Once it and its certificate are on disk, the log before it can be purged. openraft purges by its own policy and
    /// when told to, both up to this snapshot, and it would purge the entries behind a snapshot that is being sent.
    async fn build_snapshot(&mut self) -> Io<openraft::Snapshot<TypeConfig>> {
        let newest = self.meta().unwrap_or_default();
        let meta = self.kept.purge_to(newest, Instant::now());
        self.store.flush().await.map_err(|e| io_error(ErrorVerb::Write, &e))?;
        Ok(openraft::Snapshot { meta, snapshot: Box::new(SnapshotData::Local) })
    }
}
