//! The snapshots that are arriving: one for each shard and sender, chunk after chunk of one stream. Accepts no chunk out of order, so that a late chunk can't put an
//! older row behind a newer one. The rows are on the disk already; here is only how far each stream has come.

use std::collections::HashMap;
use std::time::Duration;

use bkv_core::id::NodeId;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::raft::stage::Stage;

/// A stream is dropped after this time without a chunk. An honest sender gives a chunk 10 s, and its token may be slow.
const IDLE: Duration = Duration::from_mins(5);

/// A stream of chunks.
pub(super) struct Stream<S = Stage> {
    /// Random; the same in all chunks.
    pub(super) number: u64,
    /// The next chunk.
    pub(super) next: u32,
    /// None for a copy of what is applied here already: its rows are not kept.
    pub(super) stage: Option<S>,
    /// When it is dropped, finished or not.
    pub(super) end: Instant,
    /// When its last chunk was staged.
    pub(super) touched: Instant,
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

    /// Takes out the streams that have stopped, or that take too long, with their shards. Their rows are on the disk until they are dropped.
    pub(super) fn take_stopped(&self, now: Instant) -> Vec<(u16, Stream<S>)> {
        let stopped = |s: &Stream<S>| now > s.touched + IDLE || now > s.end;
        let found = self.0.lock().extract_if(|_, s| stopped(s)).collect::<Vec<_>>();
        found.into_iter().map(|((shard, _), stream)| (shard, stream)).collect()
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

    const LIMIT: Duration = Duration::from_hours(2);

    fn stream(number: u64, touched: Instant) -> Stream<()> {
        Stream { number, next: 1, stage: Some(()), end: touched + LIMIT, touched }
    }

    /// S48: a sender that has stopped, or sends a chunk a minute, does not keep the disk full for long.
    #[test]
    fn s48_streams_that_stop_or_never_end_are_dropped() {
        let (staging, start) = (Staging::<()>::default(), Instant::now());
        staging.put(1, NodeId(7), stream(1, start));
        staging.put(2, NodeId(7), stream(2, start));
        let numbers = |now| staging.take_stopped(now).iter().map(|(_, s)| s.number).collect::<Vec<_>>();
        assert!(numbers(start + IDLE).is_empty());
        let mut lively = staging.take(2, NodeId(7)).unwrap();
        lively.touched = start + IDLE;
        staging.put(2, NodeId(7), lively);
        assert_eq!(numbers(start + IDLE + Duration::from_millis(1)), [1]);
        let mut endless = staging.take(2, NodeId(7)).unwrap();
        endless.touched = start + LIMIT;
        staging.put(2, NodeId(7), endless);
        assert!(numbers(start + LIMIT).is_empty());
        assert_eq!(numbers(start + LIMIT + Duration::from_millis(1)), [2]);
    }

    /// S22: a late chunk of an earlier stream is not added to a newer one.
    #[test]
    fn s22_streams_do_not_mix() {
        let (staging, from) = (Staging::<()>::default(), NodeId(7));
        let begin = |number| staging.put(1, from, stream(number, Instant::now()));
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
