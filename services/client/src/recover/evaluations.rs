//! From B to pw': evaluations of t regions, each signed over the same attempt and for this person, and each with a proof that it was made with the
//! registered share.
//! Until t proofs hold, nothing made from the password except B leaves this process (S44).

use bkv_core::id::{Element, Generation, Hash, Ordinal, Right, Slot, Time, WrongLength};
use bkv_core::record::KsfParams;
use bkv_core::statement::{self, Attempt as Statement};
use bkv_crypto::opaque::Stretch;
use bkv_crypto::toprf::{Commitments, Evaluation, Proof};
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};

use super::attempt::{Answers, Attempt, Exchange, Stage};
use crate::client::{Client, Entered};
use crate::error::{Distrust, Error, WrongAnswer};
use crate::fault::{Cause, Fault, unexpected};
use crate::session::Session;
use crate::trusted::CheckError;

/// How often the leader is asked for more answers in one session before a new one is tried.
const ASK_AGAIN: usize = 2;
/// How often a leader may change the statement before the error names it.
const MAX_STATEMENTS: u8 = 3;

/// What is wrong with a `Begun`.
#[derive(Debug, thiserror::Error)]
enum BegunError {
    #[error("sent {sent} commitments, the admission list says {threshold}")]
    Commitments { sent: usize, threshold: u8 },
    #[error(transparent)]
    Field(#[from] WrongLength),
}

impl Client {
    /// Gathers answers to `Begin` (request `id`) until t are valid, then computes pw' from them.
    pub(super) async fn evaluations(
        &self,
        session: &mut Session,
        entered: &Entered,
        attempt: &mut Attempt,
        mut id: u64,
    ) -> Result<(), Fault> {
        let t = entered.trusted.threshold();
        let n = entered.trusted.admission().members.len();
        let leader = entered.leader(session);
        for _ in 0..=ASK_AGAIN {
            loop {
                let (answer, more) = session.reply(&self.runtime, id, self.timing.reply).await?;
                let Answer::Begun(begun) = answer else { return Err(unexpected()) };
                attempt.begun = true;
                attempt.take(entered, leader, &begun)?;
                if attempt.answers.verified.len() >= t {
                    return attempt.harden(entered);
                }
                if !more {
                    break;
                }
            }
            // S45: the others may still answer. If too few others are left, name the region that answered wrongly.
            if let Some(wrong) = attempt.wrong.first()
                && n - attempt.wrong_slots() < t
            {
                return Err(Fault::Repeat(Cause::Wrong(wrong.clone())));
            }
            let more = p::MoreEvaluations { attempt: attempt.id.0.to_vec().into() };
            id = session.ask(Operation::MoreEvaluations(more)).await?;
        }
        Err(match attempt.wrong.first() {
            Some(wrong) => Fault::Repeat(Cause::Wrong(wrong.clone())),
            None => Fault::Repeat(Cause::Vault("too few regions have answered".into())),
        })
    }
}

impl Attempt {
    fn wrong_slots(&self) -> usize {
        let mut slots: Vec<Slot> = self.wrong.iter().map(|w| w.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        slots.len()
    }

    pub(super) fn accuse(&mut self, wrong: WrongAnswer) {
        if !self.wrong.contains(&wrong) && self.wrong.len() < 64 {
            self.wrong.push(wrong);
        }
    }

    /// Checks the answers in one `Begun`. All answers that are combined are to one and the same statement.
    fn take(&mut self, entered: &Entered, leader: Slot, begun: &p::Begun) -> Result<(), Fault> {
        self.until = Some(Time(begun.until_ms)).filter(|until| until.0 > 0).or(self.until);
        let statement = match self.statement(entered, begun) {
            Ok(statement) => statement,
            Err(e) => return Err(entered.trusted.wrong(leader, e.to_string()).into()),
        };
        if self.answers.statement.as_ref().is_none_or(|(known, _)| *known != statement) {
            // Honest regions sign one statement for one attempt. Never combine two: collect anew, and record the leader as wrong.
            if self.answers.statement.is_some() {
                let wrong = entered.trusted.wrong(leader, "sent two different statements of one attempt");
                self.accuse(wrong.clone());
                if self.answers.statements >= MAX_STATEMENTS {
                    return Err(Error::RegionAnsweredWrongly(wrong).into());
                }
            }
            let commitments = Commitments::parse(&statement.commitments)
                .map_err(|e| entered.trusted.wrong(leader, e.to_string()))?;
            let statements = self.answers.statements + 1;
            self.answers =
                Answers { statement: Some((statement, commitments)), verified: vec![], statements };
        }
        for e in begun.evaluations.iter().take(usize::from(u8::MAX)) {
            if self.answers.verified.len() >= entered.trusted.threshold() {
                break; // more than t would only cost time
            }
            match self.check(entered, e) {
                Ok(()) => {}
                Err(CheckError::Wrong(wrong)) => self.accuse(wrong),
                Err(CheckError::Final(e)) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// The statement that each region must have signed: our own id and B, this account and fleet, and the leader's claims about the record.
    fn statement(&self, entered: &Entered, b: &p::Begun) -> Result<Statement, BegunError> {
        let list = entered.trusted.admission();
        if b.commitments.len() != entered.trusted.threshold() {
            return Err(BegunError::Commitments { sent: b.commitments.len(), threshold: list.threshold });
        }
        let commitments: Result<Vec<Element>, _> =
            b.commitments.iter().map(|c| Element::try_from(&c[..])).collect();
        Ok(Statement {
            lineage: list.lineage,
            era: list.era,
            account: entered.account,
            generation: Generation(b.generation),
            ordinal: Ordinal(b.ordinal),
            success: Ordinal(b.success),
            attempt: self.id,
            blinded: *self.blinded.element(),
            record: Hash::try_from(&b.record[..])?,
            commitments: commitments?,
            ksf: KsfParams { memory_kib: b.ksf_memory_kib, passes: b.ksf_passes, lanes: b.ksf_lanes },
            budget: b.budget,
            right: Right::try_from(&b.right[..])?,
        })
    }

    fn check(&mut self, entered: &Entered, e: &p::Evaluation) -> Result<(), CheckError> {
        let Some((statement, commitments)) = &self.answers.statement else { return Ok(()) };
        let slot = Slot(u8::try_from(e.slot).unwrap_or(0));
        if self.answers.verified.iter().any(|(s, _)| *s == slot) {
            return Ok(()); // the same region twice is one region
        }
        let wrong = |what: String| CheckError::Wrong(entered.trusted.wrong(slot, what));
        let beta = Element::try_from(&e.beta[..]).map_err(|e| wrong(e.to_string()))?;
        let proof = Proof::from_slice(&e.proof).map_err(|e| wrong(e.to_string()))?;
        let signed = statement::evaluation(statement, slot, &beta, &entered.subject);
        entered.trusted.check(e.slot, &e.certificate, &signed, &e.signature, entered.clock)?;
        let context = statement::proof_context(statement, slot);
        let verified = self
            .blinded
            .verify(commitments, slot, &context.0, &Evaluation { beta, proof })
            .map_err(|e| wrong(e.to_string()))?;
        self.answers.verified.push((slot, verified));
        Ok(())
    }

    /// Combines t valid answers, and compares the password with what t regions sign. Fails if the stretching is outside the signed policy (S21).
    fn harden(&mut self, entered: &Entered) -> Result<(), Fault> {
        let Some((statement, commitments)) = &self.answers.statement else { return Err(unexpected()) };
        let policy = entered.trusted.policy();
        let stretch = Stretch::within(statement.ksf, &policy.ksf_floor, &policy.ksf_ceiling)
            .map_err(|e| Error::from(Distrust::Stretching(e.to_string())))?;
        let answers: Vec<_> = self.answers.verified.iter().map(|(_, v)| v.clone()).collect();
        let hardened = self
            .blinded
            .finish(self.password.expose(), commitments, &answers)
            .map_err(|e| Error::Local(e.to_string()))?;
        let password = stretch.apply(&hardened).map_err(|e| Error::Local(e.to_string()))?;
        let statement = statement.clone();
        // t regions sign what the right password gives. So no leader alone makes a right password look wrong (S55).
        let is_right = password.right(&statement.account, statement.generation) == statement.right;
        self.stage = if is_right {
            Stage::Exchange(Box::new(Exchange { statement, password, login: None }))
        } else {
            Stage::Wrong(Box::new(statement))
        };
        Ok(())
    }
}
