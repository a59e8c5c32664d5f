//! What a leader asks the other regions for one person, with a token of its choice.

use bkv_core::id::{AttemptId, RegId};
use bkv_vault::peer::Body;
use bkv_wire::proto::peer as p;
use bytes::Bytes;

use crate::Simulation;

/// The parts that all these calls share.
pub struct PeerCalls {
    account: Bytes,
    token: String,
    nonce: Bytes,
}

impl PeerCalls {
    /// Calls about this person's account.
    pub fn about(sim: &Simulation, person: &str, token: &str) -> Self {
        let account = Bytes::from(sim.id(person).0.to_vec());
        Self { account, token: token.to_owned(), nonce: vec![7; 32].into() }
    }

    pub fn evaluate(&self, attempt: AttemptId) -> Body {
        Body::Evaluate(p::Evaluate {
            shard: 0,
            account: self.account.clone(),
            attempt: attempt.0.to_vec().into(),
            committed: 0,
            token: self.token.clone(),
            nonce: self.nonce.clone(),
        })
    }

    pub fn attest(&self) -> Body {
        Body::Attest(p::Attest {
            shard: 0,
            account: self.account.clone(),
            nonce: self.nonce.clone(),
            committed: 0,
            token: self.token.clone(),
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
            cancel: vec![1; 32].into(),
        })
    }
}
