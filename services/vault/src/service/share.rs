//! A region's own sealed share, back from the other regions. No vault keeps its own share in sealed form, so it can't send it in a snapshot to the vault that will one day send a
//! snapshot back to it. The regions that applied the registration's entry hold it. H(shares) in the account fixes which share it is, so no liar can put another one in its place.

use std::time::Duration;

use bkv_core::encoding::cbor;
use bkv_core::id::{AccountId, NodeId, RegId};
use bkv_core::record::{Record, SealedShare};
use bkv_wire::proto::peer as p;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::Vault;
use super::error::RegionError;
use crate::peer::Body;
use crate::replica::Replica;

/// How long a request waits for the other regions.
const OTHERS: Duration = Duration::from_millis(500);

impl Vault {
    /// Asks the other regions for this region's sealed share of a registration, if it is missing here. Returns the secrets with it. They are on the disk then.
    pub(super) async fn fetch_share(
        &self,
        replica: &Replica,
        id: &AccountId,
        record: &Record,
        kept: &[u8],
    ) -> Result<Option<Vec<u8>>, RegionError> {
        let (Some(missing), Some(installed)) = (self.keeper.missing_share(kept), self.documents()) else {
            return Ok(None);
        };
        let ask = p::ShareAsk {
            shard: u32::from(replica.shard().0),
            account: id.0.to_vec().into(),
            reg_id: record.reg_id.0.to_vec().into(),
        };
        let (me, deadline) = (self.node.node(), self.node.peers().deadline(OTHERS, 1));
        let others = installed.documents.admission.members.iter().map(|m| m.node).filter(|n| *n != me);
        let mut answers: FuturesUnordered<_> =
            others.map(|node| self.node.peers().call(node, Body::ShareAsk(ask.clone()), deadline)).collect();
        while let Some(answer) = answers.next().await {
            let Ok(Body::ShareAnswer(answer)) = answer else { continue };
            let share = minicbor::decode::<SealedShare>(&answer.share).ok();
            let Some(share) = share.filter(|s| s.hash() == missing) else { continue };
            let whole = self.keeper.add_share(id, &record.reg_id, record, kept, share).await?;
            replica.keep_secrets(id, &record.reg_id, whole.clone());
            replica.state.store.flush().await?;
            tracing::info!(
                shard = replica.shard().0,
                "another region had this region's share of a registration"
            );
            return Ok(Some(whole));
        }
        Ok(None)
    }

    /// The sealed share of the region that asks, and of no other one. It was sealed to that region's delivery key, and came with the log.
    pub(super) fn share_for(&self, from: NodeId, ask: &p::ShareAsk) -> Option<p::ShareAnswer> {
        let slot = self.documents()?.documents.admission.node(from)?.slot;
        let replica = self.node.replicas().get(usize::try_from(ask.shard).ok()?)?;
        let (id, reg_id) =
            (AccountId::try_from(&ask.account[..]).ok()?, RegId::try_from(&ask.reg_id[..]).ok()?);
        let kept = replica.secrets(&id, &reg_id).ok()??;
        Some(p::ShareAnswer { share: cbor(&self.keeper.sealed_share(&kept, slot)?).into() })
    }
}
