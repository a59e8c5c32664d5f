//! Answers the calls of other vaults that are not about Raft. The caller may be a rooted leader: this region verifies the person's token itself before it
//! looks anything up (S46).

use std::sync::Weak;

use bkv_core::id::{AccountId, AttemptId, Element, Generation, Hash, NodeId, Ordinal, RegId};
use bkv_core::possession::Use;
use bkv_wire::proto::inner;
use bkv_wire::proto::peer as p;
use bytes::Bytes;
use prost::Message;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::error::RegionError;
use super::permit::LastTry;
use super::person::{Asker, Person};
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

/// The fields that Evaluate, Attest, Acknowledge and Permit share: whose account in which shard, and what shows it: the token, the nonce of the client's session
/// and the proof by the token's key.
struct Call<'a> {
    replica: &'a Replica,
    id: AccountId,
    token: Zeroizing<String>,
    nonce: [u8; 32],
    proof: Option<inner::Proof>,
}

impl<'a> Call<'a> {
    fn parse(
        vault: &'a Vault,
        number: u32,
        account: &[u8],
        token: String,
        nonce: &[u8],
        proof: Bytes,
    ) -> Option<Self> {
        let token = Zeroizing::new(token);
        let (id, nonce) = (AccountId::try_from(account).ok()?, nonce.try_into().ok()?);
        let proof = if proof.is_empty() { None } else { Some(inner::Proof::decode(proof).ok()?) };
        Some(Self { replica: shard(vault, number)?, id, token, nonce, proof })
    }

    const fn asker<'b>(&'b self, person: &'b Person) -> Asker<'b> {
        Asker { person, nonce: &self.nonce, proof: self.proof.as_ref() }
    }

    /// The person, if the token is valid here and the account is the token's.
    async fn person(&self, vault: &Vault) -> Result<Person, RegionError> {
        let fleet = self.replica.fleet().ok_or(RegionError::NotInitialised)?;
        vault.person_of(&fleet, &self.id, &self.token).await
    }

    async fn evaluate(
        &self,
        vault: &Vault,
        attempt: &AttemptId,
        may_be_last: bool,
        committed: u64,
        deadline: Instant,
    ) -> Result<inner::Evaluation, RegionError> {
        let person = self.person(vault).await?;
        let asker = self.asker(&person);
        vault.evaluate(self.replica, asker, attempt, may_be_last, committed, deadline).await
    }

    async fn acknowledge(
        &self,
        vault: &Vault,
        reg_id: &RegId,
        committed: u64,
        deadline: Instant,
    ) -> Result<inner::Acknowledgement, RegionError> {
        let person = self.person(vault).await?;
        vault.acknowledge(self.replica, self.asker(&person), reg_id, committed, deadline).await
    }

    async fn permit(
        &self,
        vault: &Vault,
        last: &LastTry,
        committed: u64,
        deadline: Instant,
    ) -> Result<inner::Permit, RegionError> {
        let person = self.person(vault).await?;
        vault.permit(self.replica, self.asker(&person), last, committed, deadline).await
    }

    async fn attest(
        &self,
        vault: &Vault,
        nonce: [u8; 32],
        channel: &[u8; 32],
        committed: u64,
        deadline: Instant,
    ) -> Result<inner::Attestation, RegionError> {
        let person = self.person(vault).await?;
        let fleet = self.replica.fleet().ok_or(RegionError::NotInitialised)?;
        self.asker(&person).proves(&fleet, &Use::Session { channel })?;
        self.replica.wait_applied(committed, deadline).await?;
        vault.attest(self.replica, &person, nonce)
    }
}

fn last_try(c: &p::Permit) -> Option<LastTry> {
    Some(LastTry {
        generation: Generation(c.generation),
        ordinal: Ordinal(c.ordinal),
        attempt: AttemptId::try_from(&c.attempt[..]).ok()?,
        blinded: Element::try_from(&c.blinded[..]).ok()?,
        cancel: Hash::try_from(&c.cancel[..]).ok()?,
        may_be_last: c.may_be_last,
    })
}

#[async_trait::async_trait]
impl PeerService for Answers {
    async fn handle(&self, from: NodeId, body: Body) -> Body {
        let Some(vault) = self.0.upgrade() else { return failed("stopping") };
        let deadline = vault.node.peers().deadline(REGIONS, 1);
        match body {
            Body::Evaluate(e) => {
                let call = Call::parse(&vault, e.shard, &e.account, e.token, &e.nonce, e.proof);
                let (Some(call), Ok(attempt)) = (call, AttemptId::try_from(&e.attempt[..])) else {
                    return failed("malformed");
                };
                let answer = call.evaluate(&vault, &attempt, e.may_be_last, e.committed, deadline).await;
                let (evaluation, missing) = encoded(&vault, answer);
                Body::Evaluated(p::Evaluated { evaluation, missing })
            }
            Body::Acknowledge(a) => {
                let call = Call::parse(&vault, a.shard, &a.account, a.token, &a.nonce, a.proof);
                let (Some(call), Ok(reg_id)) = (call, RegId::try_from(&a.reg_id[..])) else {
                    return failed("malformed");
                };
                let answer = call.acknowledge(&vault, &reg_id, a.committed, deadline).await;
                let (acknowledgement, missing) = encoded(&vault, answer);
                Body::Acknowledged(p::AcknowledgeAnswer { acknowledgement, missing })
            }
            Body::Attest(a) => {
                let call = Call::parse(&vault, a.shard, &a.account, a.token, &a.session, a.proof);
                let bytes = (<[u8; 32]>::try_from(&a.nonce[..]), <[u8; 32]>::try_from(&a.channel[..]));
                let (Some(call), (Ok(nonce), Ok(channel))) = (call, bytes) else {
                    return failed("malformed");
                };
                let answer = call.attest(&vault, nonce, &channel, a.committed, deadline).await;
                let (attestation, missing) = encoded(&vault, answer);
                Body::Attested(p::Attested { attestation, missing })
            }
            Body::Permit(c) => {
                let last = last_try(&c);
                let call = Call::parse(&vault, c.shard, &c.account, c.token, &c.nonce, c.proof);
                let (Some(call), Some(last)) = (call, last) else { return failed("malformed") };
                let answer = call.permit(&vault, &last, c.committed, deadline).await;
                let (permit, missing) = encoded(&vault, answer);
                Body::Permitted(p::Permitted { permit, missing })
            }
            Body::ShareAsk(ask) => {
                vault.share_for(from, &ask).map_or_else(|| failed("no such share here"), Body::ShareAnswer)
            }
            Body::Clock(theirs) => {
                let (admission, policy) = vault.newer_than(theirs.admission, theirs.policy);
                let signed = (theirs.version > 0).then(|| vault.applies(theirs.version)).flatten();
                let (certificate, signature) =
                    signed.map(|s| (s.certificate, s.signature.0.to_vec())).unwrap_or_default();
                let versions = vault.node.versions();
                Body::ClockAnswer(p::ClockAnswer {
                    time_ms: vault.clock.now_ms(),
                    full: vault.node.volume().is_full(),
                    admission: admission.into(),
                    policy: policy.into(),
                    oldest: versions.oldest,
                    newest: versions.newest,
                    certificate: certificate.into(),
                    signature: signature.into(),
                })
            }
            _ => failed("unknown call"),
        }
    }

    fn sign(&self, statement: &[u8]) -> Option<(Bytes, Bytes)> {
        self.0.upgrade()?.sign(statement)
    }
}
