//! Raft: openraft's storage over the store, its network over the peers. What openraft 0.9.25 would do wrongly after a restart is kept from it
//! here (see `docs/decisions`): votes are read uncommitted, and a group is started only when joining has decided that it may be.

pub(crate) mod log;
pub(crate) mod network;
mod recent;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod types;
