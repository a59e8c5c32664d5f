//! The snapshots that are arriving: one for each shard and sender, chunk after chunk of one stream. Accepts no chunk out of order, so that a late chunk can't put an
//! older row behind a newer one. The rows are on the disk already; here is only how far each stream has come.

use std::collections::HashMap;

use bkv_core::id::NodeId;
use parking_lot::Mutex;

use crate::raft::stage::Stage;

/// A stream of chunks.
pub(super) struct Stream<S = Stage> {
    /// Random; the same in all chunks.
    pub(super) number: u64,
    /// The next chunk.
    pub(super) next: u32,
    /// None for a copy of what is applied here already: its rows are not kept.
    pub(super) stage: Option<S>,
}

/// Nobody else writes to the stages while their chunk is handled: a stream is taken out and put back.
pub(super) struct Staging<S = Stage>(Mutex<HashMap<(u16, NodeId), Stream<S>>>);

impl<S> Default for Staging<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S> Staging<S> {
    /// Takes out the sender's stream. It stays out unless it is put back.
    pub(super) fn take(&self, shard: u16, from: NodeId) -> Option<Stream<S>> {
        self.0.lock().remove(&(shard, from))
    }

    /// Puts a stream back. Returns one that has begun meanwhile.
    pub(super) fn put(&self, shard: u16, from: NodeId, stream: Stream<S>) -> Option<Stream<S>> {
        self.0.lock().insert((shard, from), stream)
    }
}

impl<S> Stream<S> {
    /// True if this is the chunk that comes next.
    pub(super) const fn continues(&self, stream: u64, number: u32) -> bool {
        self.number == stream && self.next == number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S22: a late chunk of an earlier stream is not added to a newer one.
    #[test]
    fn s22_streams_do_not_mix() {
        let (staging, from) = (Staging::<()>::default(), NodeId(7));
        let begin = |number| staging.put(1, from, Stream { number, next: 1, stage: Some(()) });
        let next = |stream, number| {
            let found = staging.take(1, from).filter(|s| s.continues(stream, number));
            if let Some(s) = found {
                staging.put(1, from, Stream { next: s.next + 1, ..s });
                return true;
            }
            false
        };
        begin(1);
        assert!(next(1, 1));
        assert!(begin(2).is_some_and(|old| old.number == 1), "the older stream is given back, to be dropped");
        assert!(!next(1, 2), "the first stream's end");
        assert!(!next(2, 1), "its own stream is gone with it: begin anew");
        begin(3);
        assert!(!next(3, 2), "a chunk was left out");
        begin(4);
        assert!(next(4, 1) && next(4, 2));
        assert!(staging.take(1, NodeId(8)).is_none() && staging.take(2, from).is_none());
    }
}
