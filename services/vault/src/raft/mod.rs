//! Raft: openraft's storage over the store and its network over the peers. This module prevents two faults of openraft 0.9.25 after a restart (see
//! `docs/decisions`): votes are read as uncommitted, and a group starts only after joining has allowed it.

pub(crate) mod answers;
pub(crate) mod appended;
mod apply;
mod before;
pub(crate) mod book;
pub(crate) mod bounds;
pub(crate) mod contradictions;
pub(crate) mod equivocators;
pub(crate) mod evidence;
pub mod export;
mod few;
pub mod floor;
pub(crate) mod granted_votes;
pub(crate) mod held;
pub(crate) mod install;
pub mod keeper;
pub(crate) mod later_votes;
pub(crate) mod lifts;
pub mod log;
mod log_row;
pub(crate) mod machine;
pub(crate) mod mandates;
pub(crate) mod network;
pub(crate) mod overtaken;
mod recent;
pub mod rows;
pub mod runtime;
pub mod sizes;
pub mod snapshot;
pub(crate) mod stage;
pub mod state;
pub mod stop;
pub(crate) mod transfer;
pub mod types;
