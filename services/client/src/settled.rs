//! A change is done when t regions sign it (S55). The receipt is one region's claim: a rooted leader can sign it and propose nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use bkv_core::account::State;
use bkv_core::id::{Generation, Hash, Ordinal, Slot, WriterId};
use bkv_core::statement::Attested;
use bkv_core::writers::{AttestedWriter, LedgerName};

use crate::attested::{Regions, Survey};
use crate::client::{Client, Entered};
use crate::fault::{Cause, Fault};
use crate::session::Session;
use crate::trusted::Trusted;

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// What the client asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// This record is live.
    Registered(Generation, Hash),
    /// The key of this generation is gone.
    Deleted(Generation),
    /// This is the writer's newest ledger.
    Named(Generation, WriterId, LedgerName),
    /// The writer goes.
    Forgotten(Generation, WriterId),
    /// The attempt is counted as a success.
    Recovered(Generation, Ordinal),
}

impl Goal {
    /// True if a region signs the goal or a state past it. A later generation or the end of the key also answers the question.
    pub(crate) fn is_reached(&self, a: &Attested) -> bool {
        let ended = matches!(a.state, State::Destroyed | State::Deleted);
        let (generation, reached) = match self {
            Self::Registered(generation, record) => (*generation, a.record == *record || ended),
            Self::Deleted(generation) => (*generation, ended),
            // A change of password keeps the map, so a later generation alone answers nothing.
            Self::Named(generation, writer, ledger) => {
                let named = |w: &AttestedWriter| w.ledger == *ledger || w.ledger.counter > ledger.counter;
                let named = a.writers.iter().any(|w| w.id == *writer && named(w));
                return a.generation >= *generation && (named || ended);
            }
            Self::Forgotten(generation, writer) => {
                let known = a.writers.iter().find(|w| w.id == *writer);
                let forgotten = known.is_none_or(|w| w.forgotten.is_some());
                return a.generation >= *generation && (forgotten || ended);
            }
            Self::Recovered(generation, ordinal) => (*generation, a.success >= *ordinal || ended),
        };
        a.generation > generation || (a.generation == generation && reached)
    }

    /// The regions that sign the goal.
    pub(crate) fn signers(self, survey: &Survey) -> impl Iterator<Item = Slot> {
        survey.good.iter().filter(move |a| self.is_reached(a)).map(|a| a.slot)
    }
}

/// Whose signatures the client waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// t regions.
    Threshold,
    /// All n, for a while, and at least t. Until a region has followed, an attacker with root there can use what was replaced or deleted.
    All,
}

/// What the regions answered, once enough of them have signed the goal.
pub(crate) struct Settled {
    /// The names of the regions that have not signed it.
    pub(crate) behind: Vec<String>,
    /// The newest answers.
    pub(crate) survey: Survey,
}

/// The fault if too few regions sign the goal. Regions that answered otherwise are not out of reach, so the text says what they signed.
fn unsettled(survey: &Survey, trusted: &Trusted, goal: Goal) -> Fault {
    let answers = survey.describe(trusted, |a| !goal.is_reached(a));
    Fault::Repeat(if survey.good.len() < trusted.threshold() {
        Cause::Vault(format!("too few regions answer whether the change is done: {answers}"))
    } else {
        Cause::Disagree(format!("too few regions sign that the change is done: {answers}"))
    })
}

impl Client {
    /// Asks the regions, each time over a fresh nonce, until enough have signed the goal.
    pub(crate) async fn settled(
        &self,
        session: &mut Session,
        entered: &Entered,
        goal: Goal,
        wait: Wait,
    ) -> Result<Settled, Fault> {
        let members = &entered.trusted.admission().members;
        let t = entered.trusted.threshold();
        let (enough, regions) = match wait {
            Wait::Threshold => (t, Regions::Threshold),
            Wait::All => (members.len(), Regions::All),
        };
        let until = self.runtime.clock.elapsed().saturating_add(self.timing.followers);
        let mut signed: BTreeSet<Slot> = BTreeSet::new();
        let mut newest = Survey::default();
        loop {
            match self.attest(session, entered, regions).await {
                Ok(survey) => {
                    signed.extend(goal.signers(&survey));
                    newest = survey;
                }
                Err(_) if signed.len() >= t => break,
                Err(fault) => return Err(fault),
            }
            if signed.len() >= enough || self.runtime.clock.elapsed() >= until {
                break;
            }
            self.runtime.clock.sleep(PAUSE).await;
        }
        if signed.len() < t
            && let Ok(survey) = self.attest(session, entered, Regions::All).await
        {
            // The last question, so that the error has the answer of every region.
            signed.extend(goal.signers(&survey));
            newest = survey;
        }
        if signed.len() < t {
            return Err(unsettled(&newest, &entered.trusted, goal));
        }
        let behind = members.iter().filter(|m| !signed.contains(&m.slot)).map(|m| m.region.clone()).collect();
        Ok(Settled { behind, survey: newest })
    }
}
