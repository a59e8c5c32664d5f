//! What a leader asks the other regions for one person, with a token of its choice.

use bkv_core::id::{AttemptId, Hash, RegId};
use bkv_vault::peer::Body;
use bkv_wire::proto::inner::Proof;
use bkv_wire::proto::peer as p;
use bytes::Bytes;
use prost::Message as _;

use crate::Simulation;

/// The parts that all these calls share.
pub struct PeerCalls {
    account: Bytes,
    token: String,
    nonce: Bytes,
    proof: Bytes,
}

/// H(cancel) of the last try that the leader asks to permit.
pub const CANCEL: Hash = Hash([1; 32]);
/// The nonce of the session in which the leader claims to be.
pub const NONCE: [u8; 32] = [7; 32];
/// The keying material of the channel that the leader claims to have.
pub const CHANNEL: [u8; 32] = [8; 32];

impl PeerCalls {
    /// Calls about this person's account.
    pub fn about(sim: &Simulation, person: &str, token: &str) -> Self {
        let account = Bytes::from(sim.id(person).0.to_vec());
        Self { account, token: token.to_owned(), nonce: NONCE.to_vec().into(), proof: Bytes::new() }
    }

    /// With this proof by the token's key.
    #[must_use]
    pub fn with(mut self, proof: &Proof) -> Self {
        self.proof = proof.encode_to_vec().into();
        self
    }

    /// Under a proof of a Begin that may be the last try.
    pub fn evaluate(&self, attempt: AttemptId) -> Body {
        Body::Evaluate(p::Evaluate {
            shard: 0,
            account: self.account.clone(),
            attempt: attempt.0.to_vec().into(),
            committed: 0,
            token: self.token.clone(),
            nonce: self.nonce.clone(),
            proof: self.proof.clone(),
            may_be_last: true,
        })
    }

    pub fn attest(&self) -> Body {
        Body::Attest(p::Attest {
            shard: 0,
            account: self.account.clone(),
            nonce: vec![6; 32].into(),
            committed: 0,
            token: self.token.clone(),
            session: self.nonce.clone(),
            channel: CHANNEL.to_vec().into(),
            proof: self.proof.clone(),
        })
    }

    pub fn acknowledge(&self, reg_id: RegId) -> Body {
        Body::Acknowledge(p::Acknowledge {
            shard: 0,
            account: self.account.clone(),
            reg_id: reg_id.0.to_vec().into(),
            committed: 0,
            token: self.token.clone(),
            nonce: self.nonce.clone(),
            proof: self.proof.clone(),
        })
    }

    /// A permit for the second try of the first generation.
    pub fn permit(&self, attempt: AttemptId, blinded: &[u8; 32]) -> Body {
        Body::Permit(p::Permit {
            shard: 0,
            account: self.account.clone(),
            attempt: attempt.0.to_vec().into(),
            committed: 0,
            token: self.token.clone(),
            nonce: self.nonce.clone(),
            generation: 1,
            ordinal: 2,
            blinded: blinded.to_vec().into(),
            cancel: CANCEL.0.to_vec().into(),
            proof: self.proof.clone(),
            may_be_last: true,
        })
    }
}
