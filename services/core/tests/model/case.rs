//! One account and one client, for readable test cases. Each step runs on the machine and on the model, and both must agree.

use std::collections::BTreeMap;

use super::fake::{ERA, LINEAGE, ke3};
use super::machine::{Machine, account};
use super::op::{self, By, attempt_id, client_key};
use super::rules::{Model, ModelAnswer, seen};
use bkv_core::account::{Account, State};
use bkv_core::command::{Command, Finish, Store};
use bkv_core::effect::Effect;
use bkv_core::event::EventKind;
use bkv_core::id::{Element, Generation, Ordinal, Time};
use bkv_core::outcome::{Outcome, Refusal};
use bkv_core::record::AttemptPolicy;
use bkv_core::statement;

/// The account of the cases.
pub(super) const WHO: u8 = 0;

/// Three tries. A wait follows the second failure.
pub(super) fn policy() -> AttemptPolicy {
    AttemptPolicy { max: 3, lifetime_failures: 100, waits_ms: vec![0, 60], last_try_ms: 500, attempt_ms: 100 }
}

pub(super) const fn charged(ordinal: u64) -> Outcome {
    Outcome::Begun { ordinal: Ordinal(ordinal), charged: true }
}

pub(super) const fn again(ordinal: u64) -> Outcome {
    Outcome::Begun { ordinal: Ordinal(ordinal), charged: false }
}

pub(super) const fn no(why: Refusal) -> Outcome {
    Outcome::Refused(why)
}

#[derive(Clone)]
pub(super) struct Case {
    pub(super) machine: Machine,
    pub(super) model: Model,
    /// The leader's clock.
    pub(super) clock: Time,
    /// The effects of the newest command.
    pub(super) effects: Vec<Effect>,
    newest: Option<Store>,
}

impl Case {
    pub(super) fn new(policy: &AttemptPolicy) -> Self {
        let machine = Machine::new(policy);
        let model = Model { people: BTreeMap::new(), documents: machine.fleet().documents.clone() };
        Self { machine, model, clock: Time(1000), effects: vec![], newest: None }
    }

    /// A case in which registration 0 is live.
    pub(super) fn registered(policy: &AttemptPolicy) -> Self {
        let mut case = Self::new(policy);
        case.register(0, By::Nobody);
        case
    }

    pub(super) fn apply(&mut self, command: &Command) -> Outcome {
        let (time, applied) = self.machine.run(self.clock, command);
        let agrees = match self.model.answer(time, command) {
            ModelAnswer::Done => matches!(applied.outcome, Outcome::Done),
            ModelAnswer::Charged(n) => applied.outcome == charged(n),
            ModelAnswer::Again(n) => applied.outcome == again(n),
            ModelAnswer::Conflict => applied.outcome == no(Refusal::Conflict),
            ModelAnswer::No => matches!(applied.outcome, Outcome::Refused(_)),
        };
        assert!(agrees, "the model disagrees with {:?}", applied.outcome);
        let person = self.model.people.get(&account(WHO)).cloned().unwrap_or_default();
        assert_eq!(seen(self.machine.account(WHO)), person.seen());
        self.effects = applied.effects;
        applied.outcome
    }

    pub(super) fn wait(&mut self, ms: u64) {
        self.clock = self.clock.plus(ms);
    }

    pub(super) fn account(&self) -> &Account {
        self.machine.account(WHO).unwrap()
    }

    pub(super) fn state(&self) -> State {
        self.account().state()
    }

    /// The events of the newest command.
    pub(super) fn events(&self) -> Vec<EventKind> {
        let kind = |e: &Effect| match e {
            Effect::Event(e) => Some(e.kind),
            _ => None,
        };
        self.effects.iter().filter_map(kind).collect()
    }

    pub(super) fn begin(&mut self, attempt: u8, b: u8) -> Outcome {
        self.apply(&op::begin(&self.model, WHO, attempt, b, 0, true))
    }

    pub(super) fn give_up(&mut self, attempt: u8) -> Outcome {
        self.apply(&op::give_up(WHO, attempt, true))
    }

    pub(super) fn finish(&mut self, attempt: u8) -> Outcome {
        self.apply(&op::finish(&self.model, WHO, Some(attempt), 0))
    }

    pub(super) fn expire(&mut self) -> Outcome {
        self.apply(&op::expire(WHO))
    }

    /// The Store of a registration, not applied yet.
    pub(super) fn storing(&self, reg: u8, by: By) -> Store {
        self.harmed(reg, by, 0)
    }

    pub(super) fn harmed(&self, reg: u8, by: By, harm: u8) -> Store {
        let now = self.machine.shard.time.max(self.clock);
        let Command::Store(store) = op::store(&self.model, now, WHO, reg, by, harm) else { unreachable!() };
        *store
    }

    pub(super) fn store(&mut self, store: &Store) -> Outcome {
        self.newest = Some(store.clone());
        self.apply(&Command::Store(Box::new(store.clone())))
    }

    /// Confirms the registration that was stored last.
    pub(super) fn confirm(&mut self, acks: u8, harm: u8) -> Outcome {
        self.apply(&op::confirm(self.newest.as_ref().unwrap(), acks, harm))
    }

    pub(super) fn register(&mut self, reg: u8, by: By) {
        let store = self.storing(reg, by);
        assert_eq!(self.store(&store), Outcome::Done);
        assert_eq!(self.confirm(2, 0), Outcome::Done);
    }

    /// Waits as long as needed, then begins an attempt and gives it up.
    pub(super) fn fail(&mut self, attempt: u8) {
        self.clock = self.clock.max(self.account().next_allowed);
        assert!(matches!(self.begin(attempt, 1), Outcome::Begun { charged: true, .. }));
        assert_eq!(self.give_up(attempt), Outcome::Done);
    }

    /// Fails all tries except the last one, and opens the last one with the id `attempt`.
    pub(super) fn last_try(&mut self, attempt: u8) {
        while self.account().tries_left() > 1 {
            let n = 200 + u8::try_from(self.account().ordinal.0).unwrap();
            self.fail(n);
        }
        self.clock = self.clock.max(self.account().next_allowed);
        let next = self.account().ordinal.0 + 1;
        assert_eq!(self.begin(attempt, 1), charged(next));
        assert_eq!(self.state(), State::LastTry);
    }

    pub(super) fn destroyed(policy: &AttemptPolicy) -> Self {
        let mut case = Self::registered(policy);
        case.last_try(9);
        assert_eq!(case.give_up(9), Outcome::Done);
        case
    }

    pub(super) fn deleted(policy: &AttemptPolicy) -> Self {
        let mut case = Self::registered(policy);
        let delete = op::delete(&case.model, case.clock, WHO, 1, By::Owner);
        assert_eq!(case.apply(&delete), Outcome::Done);
        case
    }
}

/// A Finish signed with the client key of registration `reg`, for this account, generation, ordinal and B.
pub(super) fn signed_finish(
    attempt: u8,
    reg: u8,
    generation: u64,
    ordinal: u64,
    signed: u8,
    b: Element,
) -> Command {
    let context = statement::login_context(
        &LINEAGE,
        ERA,
        &account(WHO),
        Generation(generation),
        Ordinal(ordinal),
        &attempt_id(signed),
        &b,
    );
    let (ke1, ke2) = (vec![1; 96], vec![2; 192]);
    let ke3 = ke3(&client_key(WHO, reg), &context, &ke1, &ke2);
    Command::Finish(Finish { account: account(WHO), attempt: attempt_id(attempt), ke1, ke2, ke3 })
}
