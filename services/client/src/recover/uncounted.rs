//! A success that t regions have not signed yet. The leader's receipt is not enough: a rooted leader can hand the record out and never propose the
//! `Finish`. Then no try comes back, and after some honest recoveries the last one is at stake.

use std::time::Duration;

use bkv_core::id::Hash;
use bkv_core::writers::AttestedWriter;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};

use crate::attested::{Regions, Survey};
use crate::client::{Client, Entered};
use crate::error::Error;
use crate::fault::{Cause, Fault, is_about_account, unexpected};
use crate::memory::{KeyName, MemoryError};
use crate::settled::{Goal, Wait};

/// A recovery whose success t regions have not signed. It lives in memory only, and holds no secret.
#[derive(Debug, Clone)]
pub struct Uncounted {
    goal: Goal,
    finish: p::Finish,
    owner: Hash,
    name: KeyName,
    /// The newest ledger of each writer, as t regions sign it in [`Client::count`], also if that fails. A leader that drops the question after `Finish`
    /// must not hide from this device which backup is the newest (S29).
    pub named: Option<Vec<AttestedWriter>>,
    /// Set if this device could not remember which backup is the newest.
    pub not_remembered: Option<MemoryError>,
}

impl Uncounted {
    pub(super) const fn new(goal: Goal, finish: p::Finish, owner: Hash, name: KeyName) -> Self {
        Self { goal, finish, owner, name, named: None, not_remembered: None }
    }
}

impl Client {
    /// Repeats a recovery's `Finish`, through other leaders too, until t regions sign that its tries are back. Call it once the key is in use. Gives up
    /// after `limit`: [`Recovered::time_left`](crate::Recovered), or any other time if the user waits for nothing.
    /// [`Error::Superseded`] means that t regions sign a later attempt: this one ended before that, and stays counted as failed.
    ///
    /// This device remembers the newest backup as t regions sign it meanwhile, also if the success is never counted. See [`Uncounted::named`].
    pub async fn count(&self, uncounted: &mut Uncounted, limit: Duration) -> Result<(), Error> {
        let client = &self.limited(limit);
        client
            .retry()
            .run_with(uncounted, |uncounted| async move {
                let ended = client.count_once(uncounted).await;
                (uncounted, ended)
            })
            .await
    }

    async fn count_once(&self, uncounted: &mut Uncounted) -> Result<(), Fault> {
        let (mut session, entered) = self.enter(Regions::Threshold, None).await?;
        self.learn(uncounted, &entered, &entered.survey);
        if uncounted.goal.signers(&entered.survey).count() >= entered.trusted.threshold() {
            return Ok(());
        }
        let id = session.ask(Operation::Finish(uncounted.finish.clone())).await?;
        match session.reply(&self.runtime, id, self.timing.reply).await {
            Ok((Answer::Finished(_), _)) => {}
            Ok(_) => return Err(unexpected()),
            Err(Fault::Refused(r)) if is_about_account(r.code()) || r.code() == Code::Expired => {
                return Err(refused(&entered, uncounted.goal));
            }
            Err(fault) => return Err(fault),
        }
        let settled = self.settled(&mut session, &entered, uncounted.goal, Wait::Threshold).await?;
        self.learn(uncounted, &entered, &settled.survey);
        Ok(())
    }

    /// Takes in and remembers the map that t regions sign.
    fn learn(&self, uncounted: &mut Uncounted, entered: &Entered, survey: &Survey) {
        if let Some(named) = survey.map_of(entered.trusted.threshold(), &uncounted.owner) {
            uncounted.not_remembered = self.remember(&uncounted.name, &named).err();
            uncounted.named = Some(named);
        }
    }
}

/// A leader claims that the attempt is closed or the key gone. Only t regions are believed that another attempt has begun since. Otherwise other leaders are asked.
fn refused(entered: &Entered, goal: Goal) -> Fault {
    let Goal::Recovered(generation, ordinal) = goal else { return unexpected() };
    let later = entered
        .agreed(|a| (a.generation, a.ordinal))
        .is_ok_and(|a| (a.generation, a.ordinal) > (generation, ordinal));
    if later {
        Error::Superseded.into()
    } else {
        let answers = entered.survey.describe(&entered.trusted, |_| true);
        Fault::Repeat(Cause::Disagree(format!(
            "the vault claims that the attempt or the key is gone, and too few regions sign a later one: {answers}"
        )))
    }
}
