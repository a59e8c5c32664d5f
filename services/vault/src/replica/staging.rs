//! Stages snapshots while they arrive: one for each shard and sender, chunk after chunk of one stream. Judges nothing. Accepts no chunk out of order,
//! so that a late chunk can't put an older row behind a newer one.

use std::collections::HashMap;

use bkv_core::id::NodeId;
use bkv_wire::proto::peer as p;
use parking_lot::Mutex;

use crate::raft::sizes::STAGED;
use crate::raft::snapshot::{Head, Row};

/// Why a chunk is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChunkError {
    #[error("a snapshot whose head can't be decoded")]
    Head,
    #[error("a chunk of another snapshot, or out of order")]
    OutOfOrder,
    #[error("a row of a snapshot can't be decoded")]
    Row,
    #[error("more than {STAGED} bytes of snapshots would be held in memory at once")]
    TooLarge,
}

#[derive(Default)]
pub(super) struct Staging(Mutex<HashMap<(u16, NodeId), Staged>>);

struct Staged {
    stream: u64,
    next: u32,
    head: Head,
    rows: Vec<Row>,
    /// Bytes of the rows as they came. Decoded they take about as many.
    bytes: usize,
}

impl Staging {
    /// Takes the next chunk. Returns the whole snapshot with its last chunk. After an error the stream is dropped and the sender begins another.
    pub(super) fn take(
        &self,
        shard: u16,
        from: NodeId,
        chunk: &p::SnapshotChunk,
    ) -> Result<Option<(Head, Vec<Row>)>, ChunkError> {
        let mut all = self.0.lock();
        let key = (shard, from);
        // Remove the stream first. It stays removed unless it is put back below.
        let before = all.remove(&key);
        let mut staged = if chunk.number == 0 {
            let head = minicbor::decode(&chunk.head).map_err(|_| ChunkError::Head)?;
            Staged { stream: chunk.stream, next: 0, head, rows: Vec::new(), bytes: 0 }
        } else {
            before
                .filter(|s| s.stream == chunk.stream && s.next == chunk.number)
                .ok_or(ChunkError::OutOfOrder)?
        };
        // A rooted vault may send a snapshot for each shard at once, and each without end.
        let others: usize = all.values().map(|s| s.bytes).sum();
        for row in &chunk.rows {
            staged.bytes = staged.bytes.saturating_add(row.len());
            if others.saturating_add(staged.bytes) > STAGED {
                return Err(ChunkError::TooLarge);
            }
            staged.rows.push(minicbor::decode(row).map_err(|_| ChunkError::Row)?);
        }
        if chunk.last {
            return Ok(Some((staged.head, staged.rows)));
        }
        staged.next += 1;
        all.insert(key, staged);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use bkv_core::id::Hash;
    use bkv_core::shard::Shard;

    use super::*;

    fn chunk(stream: u64, number: u32, last: bool) -> p::SnapshotChunk {
        let head = Head {
            shard: Shard::default(),
            applied: Vec::new(),
            chain: Hash([0; 32]),
            membership: Vec::new(),
            membership_at: Vec::new(),
        };
        let head = if number == 0 { minicbor::to_vec(head).unwrap() } else { Vec::new() };
        p::SnapshotChunk { stream, number, last, head: head.into(), ..Default::default() }
    }

    /// S22: a late chunk of an earlier stream is not added to a newer one.
    #[test]
    fn s22_streams_do_not_mix() {
        let (staging, from) = (Staging::default(), NodeId(7));
        let take = |stream, number, last| staging.take(1, from, &chunk(stream, number, last));
        assert!(take(1, 0, false).unwrap().is_none());
        assert!(take(1, 1, false).unwrap().is_none());
        assert!(take(2, 0, false).unwrap().is_none());
        assert!(take(1, 2, true).is_err(), "the first stream's end");
        assert!(take(2, 1, true).is_err(), "its own stream is gone with it: begin anew");
        assert!(take(3, 0, false).unwrap().is_none());
        assert!(take(3, 2, true).is_err(), "a chunk was left out");
        assert!(take(4, 0, true).unwrap().is_some());
        assert!(take(4, 1, true).is_err(), "it was whole already");
    }
}
