//! Random schedules of several clients, an attacker and a leader with a wrong clock. Machine and model must agree on every answer and every account,
//! and the invariants in `machine::Machine` must hold after each entry.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::machine::{Machine, account};
use super::op::{By, Op, attempts, command, op};
use super::rules::{Model, ModelAnswer, seen};
use bkv_core::command::Command;
use bkv_core::id::Time;
use bkv_core::outcome::{Outcome, Refusal};
use bkv_core::record::AttemptPolicy;

/// Counts of what happened in a schedule, so that a test can check that schedules reach all rules.
#[derive(Default, Debug)]
pub(super) struct Reached {
    pub(super) charged: usize,
    pub(super) again: usize,
    pub(super) proved: usize,
    pub(super) ended: usize,
    pub(super) confirmed: usize,
    pub(super) refused: BTreeMap<String, usize>,
}

/// Runs a schedule. `look` gets the machine after each entry.
pub(super) fn run(policy: &AttemptPolicy, ops: &[Op], mut look: impl FnMut(&Machine)) -> Reached {
    let (mut one, mut two) = (Machine::new(policy), Machine::new(policy));
    let documents = one.fleet().documents.clone();
    let mut model = Model { people: BTreeMap::new(), documents };
    let mut leader = Time(1000);
    let mut past: Vec<Command> = Vec::new();
    let mut reached = Reached::default();
    // Both accounts are registered first. Otherwise most schedules would do nothing.
    let start = [0, 1].into_iter().flat_map(|who| {
        [Op::Store { who, reg: 0, by: By::Owner, harm: 0 }, Op::Confirm { who, acks: 2, harm: 0 }]
    });
    for op in start.chain(ops.iter().cloned()) {
        match op {
            Op::Wait(ms) => leader.0 += u64::from(ms),
            Op::Days(days) => leader.0 += u64::from(days) * 24 * 3600 * 1000,
            Op::Back(ms) => leader.0 = leader.0.saturating_sub(u64::from(ms)),
            _ => {}
        }
        let Some(command) = command(&op, &model, one.shard.time.max(leader), &past) else { continue };
        // Determinism: another replica decodes the entry and reaches the same state.
        let bytes = minicbor::to_vec(&command).unwrap();
        let read: Command = minicbor::decode(&bytes).unwrap();
        let (time, applied) = one.run(leader, &command);
        assert_eq!(applied, two.run(leader, &read).1);
        let expected = model.answer(time, &command);
        let answer = match &applied.outcome {
            Outcome::Done => ModelAnswer::Done,
            Outcome::Begun { ordinal, charged: true } => ModelAnswer::Charged(ordinal.0),
            Outcome::Begun { ordinal, charged: false } => ModelAnswer::Again(ordinal.0),
            Outcome::Refused(Refusal::Conflict) if expected == ModelAnswer::Conflict => expected,
            Outcome::Refused(_) => ModelAnswer::No,
        };
        assert_eq!(answer, expected, "{:?} at {time:?} for {command:?}", applied.outcome);
        for who in 0..2 {
            let person = model.people.get(&account(who)).cloned().unwrap_or_default();
            assert_eq!(seen(one.account(who)), person.seen(), "after {command:?} at {time:?}");
        }
        assert_eq!(
            minicbor::to_vec(&one.shard).unwrap(),
            minicbor::to_vec(&two.shard).unwrap(),
            "two replicas differ"
        );
        for (id, a) in &one.memory.0 {
            let bytes = minicbor::to_vec(a).unwrap();
            assert_eq!(bytes, minicbor::to_vec(&two.memory.0[id]).unwrap(), "two replicas differ");
            assert_eq!(&minicbor::decode::<bkv_core::account::Account>(&bytes).unwrap(), a, "round trip");
        }
        reached.count(&command, &applied.outcome);
        past.push(command);
        look(&one);
    }
    reached
}

impl Reached {
    fn count(&mut self, command: &Command, outcome: &Outcome) {
        match (command, outcome) {
            (_, Outcome::Begun { charged: true, .. }) => self.charged += 1,
            (_, Outcome::Begun { charged: false, .. }) => self.again += 1,
            (Command::Finish(_), Outcome::Done) => self.proved += 1,
            (Command::Confirm(_), Outcome::Done) => self.confirmed += 1,
            (_, Outcome::Refused(Refusal::Destroyed | Refusal::Deleted)) => self.ended += 1,
            _ => {}
        }
        if let Outcome::Refused(why) = outcome {
            let name = format!("{why:?}");
            let name = name.split('(').next().unwrap_or_default().to_owned();
            *self.refused.entry(name).or_default() += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// S09, S10, S11, S12, S13, S15, S16, S18: see `machine::Machine::watch` and the model.
    #[test]
    fn s09_s18_machine_and_model_agree_on_random_schedules(
        policy in attempts(),
        ops in prop::collection::vec(op(), 1..120),
    ) {
        run(&policy, &ops, |_| {});
    }
}

/// The schedules above must reach every rule.
#[test]
fn random_schedules_reach_every_refusal() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut all = Reached::default();
    for _ in 0..400 {
        let policy = attempts().new_tree(&mut runner).unwrap().current();
        let ops = prop::collection::vec(op(), 120).new_tree(&mut runner).unwrap().current();
        let r = run(&policy, &ops, |_| {});
        all.charged += r.charged;
        all.again += r.again;
        all.proved += r.proved;
        all.ended += r.ended;
        all.confirmed += r.confirmed;
        for (k, n) in r.refused {
            *all.refused.entry(k).or_default() += n;
        }
    }
    println!("{all:?}");
    for n in [all.charged, all.again, all.proved, all.ended, all.confirmed] {
        assert!(n > 100, "{all:?}");
    }
    let names = [
        "Conflict",
        "Deleted",
        "Destroyed",
        "Documents",
        "Element",
        "Expired",
        "LastTry",
        "LastTryOpen",
        "Locked",
        "NoAttempt",
        "OldLedger",
        "OtherLedger",
        "Owner",
        "Permits",
        "Proof",
        "Record",
        "Stale",
        "VTooSoon",
        "Wait",
    ];
    for name in names {
        assert!(all.refused.get(name).is_some_and(|n| *n > 10), "{name} in {all:?}");
    }
}
