//! A vault's replicas, one for each shard. Joining, batching and Raft are behind [`Replica`].

mod admissible;
mod arriving;
mod batch;
mod certify;
mod config;
mod confirmation;
mod context;
mod cut;
mod elections;
mod equivocation;
mod goals;
mod group;
mod handle;
mod heartbeat;
mod history;
mod incoming;
mod join;
mod mandate;
mod node;
mod proposal;
mod silence;
mod snapshot;
mod staging;
mod status;
mod under_way;
mod versions;

pub use crate::raft::contradictions::Contradiction;
pub use crate::raft::equivocators::Equivocator;
pub use config::{Env, NodeConfig};
pub use context::PeerService;
pub use handle::{EventPage, Replica};
pub use node::{Ended, Node, NodeError};
pub use proposal::{Committed, ProposeError};
pub use status::{Phase, ShardStatus};
