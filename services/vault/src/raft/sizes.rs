//! Bounds on bytes in the log and between vaults. All of them are here, because each must fit into the next: a command into a batch, a batch into an append,
//! appends into a frame, a frame into what the receiver of a frame accepts. A receiver closes the connection when a frame is larger, and that connection
//! carries the heartbeats of all shards. So one oversized entry would take the leader of every shard of a vault from the other regions.

use bkv_core::bounds::{KE1, KE2, RECORD, REGIONS, SHARE_KEY, SHARE_TEXT};
use bkv_core::writers::{MAX_RETIRED, MAX_WRITERS};
use openraft::EntryPayload;

use super::types::Entry;

/// Most commands in one entry.
pub(crate) const COMMANDS: usize = 256;
/// Most bytes of the commands in one entry. The largest command has 128 KiB (two documents); a client's has 8 KiB.
pub(crate) const BATCH: usize = 1 << 20;
/// Most bytes of an entry that a leader may send: a batch with its time and lengths.
pub(crate) const ENTRY: usize = BATCH + 4096;
/// Bytes of entries after which an honest leader ends an append. A follower that catches up gets one append after the other, and heartbeats of other shards
/// wait behind each of them.
pub(crate) const APPEND_SENT: usize = 1 << 20;
/// Most bytes of entries in an append that a follower takes.
pub(crate) const APPEND: usize = 4 << 20;
/// Most entries in an append that a follower takes. Each may be a checkpoint, which costs a commit of its own: a hundred thousand empty ones would hold up all shards
/// for minutes. An honest leader sends at most [`ENTRIES_SENT`].
pub(crate) const ENTRIES: usize = 256;
/// Most entries that a leader sends in one append.
pub(crate) const ENTRIES_SENT: u64 = 64;
/// Bytes of calls after which a frame between vaults ends. With the last call it is still below [`bkv_wire::frame::MAX_PEER_FRAME`].
pub(crate) const FRAME: usize = 4 << 20;

/// Most bytes of a row of a snapshot: an account with a live and a stored registration. The certificate fixes the number of the rows. Their bytes are compared with it only at the
/// end, and a liar could fill the disk until then.
pub(crate) const ROW: usize = 2 * REGISTRATION + KE1 + KE2 + 4096 + MAPS;
/// The writers of the live key and of two that are gone.
const MAPS: usize = (1 + MAX_RETIRED) * MAX_WRITERS * 192;
/// Record, sealed shares and their hashes, and small fields.
const REGISTRATION: usize = RECORD + REGIONS * (SHARE_KEY + SHARE_TEXT + 64) + 256;
/// Rows in one chunk of a snapshot. Each costs both vaults a call of the token, and a chunk has a time limit.
pub const ROWS: usize = 128;

const _: () = assert!(ROWS * ROW + (1 << 20) <= bkv_wire::frame::MAX_PEER_FRAME);
const _: () = assert!(ENTRY <= APPEND && APPEND_SENT + ENTRY <= APPEND);
const _: () = assert!(FRAME + APPEND + (1 << 20) <= bkv_wire::frame::MAX_PEER_FRAME);

/// The bytes of an entry's batch.
pub(crate) fn of(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.0.len(),
        EntryPayload::Membership(_) | EntryPayload::Blank => 0,
    }
}
