//! Answers the calls of other vaults that are not about Raft.

use std::sync::Weak;

use bkv_core::id::{AccountId, AttemptId, NodeId, RegId};
use bkv_wire::proto::peer as p;
use bytes::Bytes;
use prost::Message;
use tokio::time::Instant;

use super::error::RegionError;
use super::{REGIONS, Vault};
use crate::peer::Body;
use crate::replica::{PeerService, Replica};

pub(super) struct Answers(pub(super) Weak<Vault>);

fn failed(reason: impl Into<String>) -> Body {
    Body::Failed(p::Failed { reason: reason.into() })
}

fn shard(vault: &Vault, number: u32) -> Option<&Replica> {
    vault.node.replicas().get(usize::try_from(number).ok()?)
}

/// (what the region contributes, why it is missing), one of them empty.
fn encoded(vault: &Vault, answer: Result<impl Message, RegionError>) -> (Bytes, Bytes) {
    match answer {
        Ok(contribution) => (contribution.encode_to_vec().into(), Bytes::new()),
        Err(e) => {
            let slot = vault.slot().map_or(0, |slot| slot.0);
            (Bytes::new(), e.missing(slot).encode_to_vec().into())
        }
    }
}

#[async_trait::async_trait]
impl PeerService for Answers {
    async fn handle(&self, _: NodeId, body: Body) -> Body {
        let Some(vault) = self.0.upgrade() else { return failed("stopping") };
        let deadline = Instant::now() + REGIONS;
        match body {
            Body::Evaluate(e) => {
                let ids = (AccountId::try_from(&e.account[..]), AttemptId::try_from(&e.attempt[..]));
                let (Some(replica), (Ok(id), Ok(attempt))) = (shard(&vault, e.shard), ids) else {
                    return failed("malformed");
                };
                let answer = vault.evaluate(replica, &id, &attempt, e.committed, deadline).await;
                let (evaluation, missing) = encoded(&vault, answer);
                Body::Evaluated(p::Evaluated { evaluation, missing })
            }
            Body::Acknowledge(a) => {
                let ids = (AccountId::try_from(&a.account[..]), RegId::try_from(&a.reg_id[..]));
                let (Some(replica), (Ok(id), Ok(reg_id))) = (shard(&vault, a.shard), ids) else {
                    return failed("malformed");
                };
                let answer = vault.acknowledge(replica, &id, &reg_id, a.committed, deadline).await;
                let (acknowledgement, missing) = encoded(&vault, answer);
                Body::Acknowledged(p::AcknowledgeAnswer { acknowledgement, missing })
            }
            Body::Attest(a) => {
                let nonce: Option<[u8; 32]> = a.nonce[..].try_into().ok();
                let (Some(replica), Ok(id), Some(nonce)) =
                    (shard(&vault, a.shard), AccountId::try_from(&a.account[..]), nonce)
                else {
                    return failed("malformed");
                };
                if let Err(e) = replica.wait_applied(a.committed, deadline).await {
                    return failed(e.to_string());
                }
                match vault.attest(replica, &id, nonce) {
                    Some(attestation) => {
                        Body::Attested(p::Attested { attestation: attestation.encode_to_vec().into() })
                    }
                    None => failed("no fleet yet, not verified, or an account of another shard"),
                }
            }
            Body::Clock(_) => Body::ClockAnswer(p::ClockAnswer { time_ms: vault.clock.now_ms() }),
            _ => failed("unknown call"),
        }
    }
}
