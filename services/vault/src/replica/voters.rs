//! Asks the other vaults for their state of an account.

use std::time::Duration;

use bkv_core::id::{AccountId, Hash, NodeId};
use bkv_wire::proto::peer as p;
use tokio::time::Instant;

use crate::peer::{Admitted, Body, Peers};
use crate::raft::state::AskVoters;

/// Asks the other voters about an account while a snapshot is judged.
pub(super) struct Voters {
    pub(super) admitted: Admitted,
    pub(super) peers: Peers,
    pub(super) me: NodeId,
}

#[async_trait::async_trait]
impl AskVoters for Voters {
    async fn agree(&self, shard: u16, id: &AccountId, want: &Hash) -> bool {
        let Some(list) = self.admitted.get() else { return false };
        let others = list.members.iter().map(|m| m.node).filter(|n| *n != self.me);
        let asked = futures_util::future::join_all(others.map(|node| {
            let ask = Body::Digest(p::Digest { shard: u32::from(shard), account: id.0.to_vec().into() });
            self.peers.call(node, ask, Instant::now() + Duration::from_secs(2))
        }));
        let same = asked
            .await
            .into_iter()
            .filter(|a| matches!(a, Ok(Body::DigestAnswer(d)) if d.digest[..] == want.0))
            .count();
        same >= usize::from(list.threshold)
    }
}
