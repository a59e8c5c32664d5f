//! From the right password to the key: KE1 → KE2, then `Finish`. Closes the attempt of a wrong password.

use std::time::Duration;

use bkv_core::account::State;
use bkv_core::record::Record;
use bkv_core::statement::{self, ReceiptKind};
use bkv_core::writers::owner_hash;
use bkv_crypto::opaque::OpaqueError;
use bkv_crypto::reply;
use bkv_stream::BackupKey;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::{self as p};
use prost::Message as _;

use super::attempt::{Attempt, Proved, Stage, tries_left};
use super::{Note, Recovered, Uncounted};
use crate::attested::Regions;
use crate::client::{Client, Entered};
use crate::error::Error;
use crate::fault::{Fault, unexpected};
use crate::memory::KeyName;
use crate::receipt;
use crate::sealed;
use crate::session::Session;
use crate::settled::Goal;
use crate::writers::with_v;

impl Client {
    /// KE2 for the KE1 of request `id`.
    pub(super) async fn exchange(
        &self,
        session: &mut Session,
        entered: &Entered,
        attempt: &mut Attempt,
        id: u64,
    ) -> Result<(), Fault> {
        let (answer, _) = session.reply(&self.runtime, id, self.timing.reply).await?;
        let Answer::KeyExchanged(p::KeyExchanged { ke2 }) = answer else { return Err(unexpected()) };
        let Stage::Exchange(exchange) = &mut attempt.stage else { return Err(unexpected()) };
        let s = &exchange.statement;
        let context = statement::login_context(
            &s.lineage,
            s.era,
            &s.account,
            s.generation,
            s.ordinal,
            &s.attempt,
            &s.blinded,
        );
        // Take KE1 out, because a KE1 whose KE2 was bad is never used again.
        let Some((login, ke1)) = exchange.login.take() else { return Err(unexpected()) };
        let done = login.finish(&exchange.password, &ke2, &context.0, &mut self.runtime.rng());
        attempt.stage = match done {
            Ok(logged_in) => Stage::Proved(Box::new(Proved {
                statement: exchange.statement.clone(),
                ke1,
                ke2: ke2.to_vec(),
                logged_in,
            })),
            Err(OpaqueError::WrongPassword) => {
                // t regions sign that the password is right. The same attempt goes on with another KE1, at another leader if one is elected, free.
                let leader = entered.leader(session);
                let wrong = entered.trusted.wrong(leader, "answered a right password like a wrong one");
                attempt.accuse(wrong.clone());
                return Err(wrong.into());
            }
            Err(e @ (OpaqueError::Length { .. } | OpaqueError::Malformed(_) | OpaqueError::Reflected)) => {
                return Err(entered.trusted.wrong(entered.leader(session), e.to_string()).into());
            }
            Err(e) => return Err(Error::Local(e.to_string()).into()),
        };
        Ok(())
    }

    /// The answer to `Finish`: the record, encrypted with a key that only the two ends of this channel have.
    pub(super) async fn finished(
        &self,
        session: &mut Session,
        entered: &Entered,
        attempt: &mut Attempt,
        id: u64,
    ) -> Result<Recovered, Fault> {
        let (answer, _) = session.reply(&self.runtime, id, self.timing.reply).await?;
        let Answer::Finished(finished) = answer else { return Err(unexpected()) };
        let Stage::Proved(proved) = &attempt.stage else { return Err(unexpected()) };
        let leader = entered.leader(session);
        let wrong = |what: &str| Fault::from(entered.trusted.wrong(leader, what));
        let exporter = session.exporter(reply::EXPORTER, &[])?;
        let body = reply::open(&proved.logged_in.session_key, &exporter, &attempt.id.0, &finished.sealed)
            .and_then(|body| p::FinishedBody::decode(&body[..]).ok())
            .ok_or_else(|| wrong("its reply to Finish does not open"))?;
        // t regions signed H(record). With another hash the leader swapped the record.
        let record = Record::decode(&body.record)
            .ok()
            .filter(|r| r.hash() == proved.statement.record)
            .ok_or_else(|| wrong("sent another record than the regions signed"))?;
        let (account, generation) = (proved.statement.account, proved.statement.generation);
        let list = entered.trusted.admission();
        let key = sealed::open_key(
            &proved.logged_in.export_key,
            &list.lineage,
            record.era,
            &account,
            generation,
            &record.ciphertext,
        )
        .ok_or_else(|| wrong("sent a record whose ciphertext does not open"))?;
        let receipt = receipt::verify(
            &entered.trusted,
            entered.clock,
            &account,
            ReceiptKind::Recovered,
            &attempt.id.0,
            finished.receipt,
        )?;
        let mut notes: Vec<Note> = attempt.wrong.iter().cloned().map(Note::Wrong).collect();
        let key = BackupKey::from_bytes(&key);
        let goal = Goal::Recovered(generation, proved.statement.ordinal);
        // The key is here, so no fault of this question may lose it.
        let survey = self.attest(session, entered, Regions::Threshold).await.unwrap_or_default();
        let signed = goal.signers(&survey).count();
        // A rooted leader alone must not name older ledgers, so t regions sign the map. Only V itself comes from the leader.
        let t = entered.trusted.threshold();
        let owner = owner_hash(&record.owner);
        let (before, after) = (entered.survey.map_of(t, &owner), survey.map_of(t, &owner));
        let writers = after.as_ref().and_then(|named| with_v(named, &body.vs));
        // Another device may have changed V in between. Only if the regions sign the same before and after, the leader lies.
        if writers.is_none() && after.is_some() && before == after {
            notes.push(Note::Wrong(entered.trusted.wrong(leader, "sent another V than the regions sign")));
        }
        let name = KeyName::new(&key, &list.lineage, &account);
        let uncounted = (signed < t).then(|| Uncounted::new(goal, proved.finish(), owner, name));
        Ok(Recovered {
            key,
            account,
            receipt,
            named: after.or(before),
            writers,
            lifetime_failures: body.lifetime_failures,
            notes,
            uncounted,
            time_left: Duration::ZERO,
            record,
        })
    }

    /// Closes a wrong attempt and asks when the next may begin. Returns the error for the user.
    pub(super) async fn give_up(
        &self,
        session: &mut Session,
        entered: &Entered,
        attempt: &Attempt,
        id: u64,
    ) -> Result<Error, Fault> {
        let Stage::Wrong(statement) = &attempt.stage else { return Err(unexpected()) };
        let closed = session.reply(&self.runtime, id, self.timing.reply).await;
        match closed {
            // The attempt is closed already: by a repetition of this request, by its deadline, or by a later attempt.
            Ok((Answer::Done(_), _)) | Err(Fault::Refused(_)) => {}
            Ok(_) => return Err(unexpected()),
            Err(fault) => return Err(fault),
        }
        // One region alone could claim that the key is gone, or that the wait is long.
        let survey = self.attest(session, entered, Regions::Threshold).await?;
        let t = entered.trusted.threshold();
        let agreed = survey.agreed(t, |a| (a.state, a.generation, a.next_allowed));
        if agreed.is_some_and(|a| a.state == State::Destroyed) {
            return Ok(Error::Destroyed);
        }
        let next_allowed = agreed.map(|a| a.next_allowed);
        Ok(Error::WrongPassword { tries_left: tries_left(statement), next_allowed })
    }
}
