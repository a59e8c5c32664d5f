//! The stop of a shard on its disk, and the root's lift.

use bkv_core::encoding::cbor;
use bkv_core::join::{Ballot, LogPosition};
use bytes::Bytes;

use super::super::stop::{Stop, StopKind};
use super::{Log, excused_place, lift_place, stopped_place};
use crate::store::{Change, StoreError};

impl Log {
    /// Why the replica has stopped.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.lock().stopped.clone()
    }

    /// Stops the shard until the root lifts the stop, because t other regions have signed another state.
    pub(crate) fn halt(&self, why: String) {
        self.stop(Stop::new(StopKind::Halted, why, LogPosition::default()));
    }

    /// Stops the shard. A shard that has stopped keeps its first reason. It is on the disk with the next group commit.
    pub(crate) fn stop(&self, stop: Stop) {
        let mut inner = self.lock();
        if inner.stopped.is_none() {
            tracing::error!(shard = self.shard, %stop, "stopped: an operator must look at this shard");
            self.store.write(vec![Change::put(stopped_place(self.shard), cbor(&stop))], None);
            inner.stopped = Some(stop);
        }
    }

    /// Ends a stop that the root has lifted. False if the shard has not stopped with this id. On the disk when it returns.
    pub(crate) async fn lift(&self, id: &[u8; 16], signed: &[u8]) -> Result<bool, StoreError> {
        {
            let mut inner = self.lock();
            let Some(stop) = inner.stopped.take_if(|s| s.id == *id) else { return Ok(false) };
            inner.excused = inner.excused.max(stop.acknowledged);
            let excused = Change::put(excused_place(self.shard), cbor(&inner.excused));
            inner.lift = Bytes::copy_from_slice(signed);
            let lift = Change::put(lift_place(self.shard), signed.to_vec());
            self.store.write(vec![Change::remove(stopped_place(self.shard)), excused, lift], None);
        }
        self.store.flush().await.map(|()| true)
    }

    /// The root's newest lift of a stop of this shard. A leader that was told of more than this disk has needs it.
    pub(crate) fn lifted(&self) -> Bytes {
        self.lock().lift.clone()
    }

    /// The vote of the newest truncation, and up to where acknowledgements are excused.
    pub(crate) fn explanations(&self) -> (Ballot, LogPosition) {
        let inner = self.lock();
        (inner.truncated, inner.excused)
    }
}
