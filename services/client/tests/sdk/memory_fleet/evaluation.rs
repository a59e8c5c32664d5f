//! Evaluations of the pending attempt, by each region in turn, and the ways in which a rooted region can answer wrongly.

use bkv_core::account::Account;
use bkv_core::id::{Element, Slot};
use bkv_core::statement;
use bkv_core::view;
use bkv_crypto::toprf::{self, Commitments, Share};
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::{self as p};
use ed25519_dalek::Signer as _;

use super::state::{State, no};

/// How a region's evaluation is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    Proof,
    Signature,
    OtherRecord,
    /// Signs more tries than the record has.
    OtherBudget,
    /// Signs another password as right.
    OtherRight,
    /// A genuine answer to an earlier attempt.
    OtherAttempt,
    /// A genuine answer to another blinded element.
    OtherBlinded,
    /// A genuine answer of another generation.
    OtherGeneration,
    /// Signs with a boot key that an identity outside the admission list certified.
    Stranger,
    OtherShare,
    WrongSlot,
    Reflected,
    Identity,
    NotCanonical,
    Silent,
}

impl State {
    pub(super) fn evaluations(&mut self) -> Vec<Answer> {
        let account: Option<Account> = self.shard.account().cloned();
        let honest = account.as_ref().and_then(|a| view::attempt(self.shard.fleet(), &self.account, a));
        let (Some(mut honest), Some(account)) = (honest, account) else {
            return vec![no(Code::NoAttempt)];
        };
        if self.refused() {
            return vec![no(Code::FreshToken)];
        }
        honest.ksf = self.ksf_lie.unwrap_or(honest.ksf);
        let record = account.live.as_ref().unwrap().record.clone();
        let seed = account.pending.as_ref().unwrap().seed.clone();
        let commitments = Commitments::parse(&record.commitments).unwrap();
        let mut answers = vec![];
        for slot in (1..=3).map(Slot) {
            let lie = self.lies.get(&slot.0).copied();
            let mut told = honest.clone();
            if self.two_stories && slot.0 % 2 == 0 {
                told.ordinal.0 += 1; // more tries seem to be gone
            }
            let mut signs = told.clone();
            if let Some(own) = &self.own_commitments {
                told.commitments.clone_from(own);
            }
            match lie {
                Some(Lie::OtherRecord) => signs.record.0[0] ^= 1,
                Some(Lie::OtherBudget) => signs.budget += 90,
                Some(Lie::OtherRight) => signs.right.0[0] ^= 1,
                Some(Lie::OtherAttempt) => signs.attempt.0[0] ^= 1,
                Some(Lie::OtherBlinded) => {
                    signs.blinded = *toprf::blind(b"other", &mut rand::rngs::OsRng).unwrap().element();
                }
                Some(Lie::OtherGeneration) => signs.generation.0 += 1,
                _ => {}
            }
            let bytes = self.shard.share(&record.reg_id, slot);
            let other = self.shard.share(&record.reg_id, Slot(slot.0 % 3 + 1));
            let share =
                Share::from_slice(if lie == Some(Lie::OtherShare) { &other } else { &bytes }).unwrap();
            let public = commitments.public_share(slot).unwrap();
            let context = statement::proof_context(&signs, slot);
            let mut e =
                toprf::evaluate(&share, &public, slot, seed.expose(), &context.0, &signs.blinded).unwrap();
            self.evaluated.insert((honest.generation, honest.ordinal, honest.attempt, honest.blinded));
            match lie {
                Some(Lie::Proof) => e.proof.0[40] ^= 1,
                Some(Lie::Reflected) => e.beta = honest.blinded,
                Some(Lie::Identity) => e.beta = Element([0; 32]),
                Some(Lie::NotCanonical) => e.beta = Element([0xff; 32]),
                _ => {}
            }
            let signed = statement::evaluation(&signs, slot, &e.beta, self.subject());
            let (mut certificate, signature) = self.sign(slot, &signed);
            let mut signature = signature.to_vec();
            if lie == Some(Lie::Stranger) {
                let stranger = super::keys::Region::new(slot.0, record.lineage);
                certificate = stranger.certificate.clone().into();
                signature = stranger.boot.sign(&signed).to_bytes().to_vec();
            }
            if lie == Some(Lie::Signature) {
                signature[3] ^= 1;
            }
            let named = if lie == Some(Lie::WrongSlot) { Slot(slot.0 % 3 + 1) } else { slot };
            let evaluation = p::Evaluation {
                slot: named.0.into(),
                beta: e.beta.0.to_vec().into(),
                proof: e.proof.0.to_vec().into(),
                certificate,
                signature: signature.into(),
            };
            let silent = lie == Some(Lie::Silent);
            let twice = if self.twice { vec![evaluation.clone(), evaluation.clone()] } else { vec![] };
            answers.push(Answer::Begun(p::Begun {
                generation: told.generation.0,
                ordinal: told.ordinal.0,
                commitments: told.commitments.iter().map(|c| c.0.to_vec().into()).collect(),
                ksf_memory_kib: told.ksf.memory_kib,
                ksf_passes: told.ksf.passes,
                ksf_lanes: told.ksf.lanes,
                record: told.record.0.to_vec().into(),
                success: told.success.0,
                budget: told.budget,
                evaluations: if silent { vec![] } else { [vec![evaluation], twice].concat() },
                missing: vec![],
                right: told.right.0.to_vec().into(),
                until_ms: self.last_try_ends(),
            }));
        }
        answers
    }
}
