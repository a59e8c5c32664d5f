//! `Store`, and the regions' signed acknowledgements that each holds the record and can open its share.

use bkv_core::id::Slot;
use bkv_core::statement;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};

use super::draft::Draft;
use crate::client::{Client, Entered};
use crate::error::WrongAnswer;
use crate::fault::{Cause, Fault, unexpected};
use crate::session::Session;
use crate::trusted::CheckError;

impl Client {
    /// Sends the draft and gathers acknowledgements: all n if they come soon, t if not. The client needs t regions: a leader
    /// that alone reports the record as stored gets no confirmation.
    pub(super) async fn store(
        &self,
        session: &mut Session,
        entered: &Entered,
        draft: &mut Draft,
        wrong: &mut Vec<WrongAnswer>,
    ) -> Result<(), Fault> {
        let (t, n) = (entered.trusted.threshold(), entered.trusted.admission().members.len());
        let enough = |draft: &Draft| draft.acknowledgements.len() >= t;
        if enough(draft) {
            return Ok(()); // an earlier session got that far
        }
        if draft.subject != entered.subject {
            // Confirm has one tag for all acknowledgements, and each session has its own.
            draft.acknowledgements.clear();
            draft.subject = entered.subject;
        }
        let id = session.ask(Operation::Store(draft.message())).await?;
        loop {
            let limit = if enough(draft) { self.timing.acknowledgements } else { self.timing.reply };
            let (answer, more) = match session.reply(&self.runtime, id, limit).await {
                Ok(reply) => reply,
                Err(_) if enough(draft) => return Ok(()),
                Err(fault) => return Err(fault),
            };
            let Answer::Acknowledged(all) = answer else { return Err(unexpected()) };
            for a in all.acknowledgements.into_iter().take(usize::from(u8::MAX)) {
                match draft.check(entered, a) {
                    Ok(()) => {}
                    Err(CheckError::Wrong(w)) if wrong.contains(&w) => {}
                    Err(CheckError::Wrong(w)) => wrong.push(w),
                    Err(CheckError::Final(e)) => return Err(e.into()),
                }
            }
            if draft.acknowledgements.len() >= n || (!more && enough(draft)) {
                return Ok(());
            }
            if !more {
                return Err(match wrong.first() {
                    Some(w) => Fault::Repeat(Cause::Wrong(w.clone())),
                    None => Fault::Repeat(Cause::Vault("too few regions have acknowledged".into())),
                });
            }
        }
    }
}

impl Draft {
    /// Takes an acknowledgement of this record and these shares by an admitted region.
    fn check(&mut self, entered: &Entered, a: p::Acknowledgement) -> Result<(), CheckError> {
        let slot = Slot(u8::try_from(a.slot).unwrap_or(0));
        let r = &self.record;
        let statement = statement::acknowledgement(
            &r.lineage,
            r.era,
            &r.reg_id,
            slot,
            &self.hash,
            &self.shares_hash,
            &self.subject,
        );
        entered.trusted.check(a.slot, &a.certificate, &statement, &a.signature, entered.clock)?;
        if self.acknowledgements.iter().all(|(s, _)| *s != slot) {
            self.acknowledgements.push((slot, a));
        }
        Ok(())
    }
}
