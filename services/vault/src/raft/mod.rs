//! Raft: openraft's storage over the store, its network over the peers. What openraft 0.9.25 would do wrongly after a restart is kept from it
//! here (see `docs/decisions`): votes are read uncommitted, and a group is started only when joining has decided that it may be.

mod apply;
mod export;
pub mod floor;
pub(crate) mod install;
pub mod keeper;
pub mod log;
mod machine;
pub(crate) mod network;
mod recent;
pub mod rows;
pub mod snapshot;
pub mod state;
pub mod types;
