//! Checks the evaluations that the witness recorded: against what the disks held at that moment, and against the budget.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bkv_core::batch::Batch;
use bkv_core::command::Command;
use bkv_wire::verifier::WireVerifier;
use openraft::EntryPayload;
use openraft::storage::RaftLogReader as _;

use crate::Simulation;
use crate::disk::{Disk, Image};
use crate::witness::Evaluation;
use bkv_vault::env::SystemClock;
use bkv_vault::keeper::TokenKeeper;
use bkv_vault::raft::log::Log;
use bkv_vault::raft::state::State;

/// What one disk holds about an attempt.
struct Held {
    /// The charge is in the log or in the state.
    charge: bool,
    /// The floor belongs to this attempt or to a later one.
    floor: bool,
}

impl Simulation {
    /// Opens a disk as a vault that starts from it would.
    async fn held(&self, vault: usize, image: &Image, evaluation: &Evaluation) -> Held {
        let (machine, statement) = (&self.machines[vault], &evaluation.statement);
        let store = machine.store(Disk::from_image(image.clone()));
        let mut log = Log::open(0, store.clone()).unwrap();
        let keeper = Arc::new(TokenKeeper::new(machine.token.clone(), Arc::new(bkv_vault::env::OsRandom)));
        let verifier = Arc::new(WireVerifier::new(machine.root.clone()));
        let (clock, wake) = (Arc::new(SystemClock), Arc::default());
        let state = State::open(log.clone(), 0, store, keeper, verifier, clock, wake).unwrap();
        let begun = (statement.generation, statement.ordinal);
        let in_state =
            state.account(&statement.account).unwrap().is_some_and(|a| (a.generation, a.ordinal) >= begun);
        let entries = log.try_get_log_entries(0..).await.unwrap();
        let in_log = entries.iter().any(|e| {
            let EntryPayload::Normal(bytes) = &e.payload else { return false };
            let batch: Batch = minicbor::decode(&bytes.0).unwrap();
            batch.commands.iter().any(|c| {
                matches!(c, Command::Begin(b) if b.account == statement.account
                    && (b.generation, b.ordinal) == begun && (b.attempt, b.blinded) == evaluation.guess())
            })
        });
        let floor = state.floor(&statement.account).unwrap().is_some_and(|f| {
            let here = (f.generation, f.ordinal);
            here > begun || (here == begun && (f.attempt, f.blinded) == evaluation.guess())
        });
        Held { charge: in_state || in_log, floor }
    }

    /// S08: when a region evaluated, the charge was on the disks of a majority and the floor was on the region's own disk.
    pub async fn audit_durability(&self, evaluations: &[Evaluation]) {
        for evaluation in evaluations {
            let mut charged = 0;
            for (vault, image) in evaluation.durable.iter().enumerate() {
                if image.is_empty() {
                    continue;
                }
                let held = self.held(vault, image, evaluation).await;
                charged += usize::from(held.charge);
                let own = usize::from(evaluation.slot.0) == vault + 1;
                assert!(
                    !own || held.floor,
                    "slot {} evaluated {:?} without a floor on its disk",
                    evaluation.slot,
                    evaluation.place()
                );
            }
            assert!(
                charged >= 2,
                "slot {} evaluated {:?}: the charge was on {charged} of 3 disks",
                evaluation.slot,
                evaluation.place()
            );
        }
    }
}

/// S09, S10: all regions evaluate one guess per ordinal, ever. No region evaluates more guesses between two successes than the budget.
pub fn audit_budget(evaluations: &[Evaluation], budget: u64) {
    let mut by_place = BTreeMap::new();
    let mut by_region: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for t in evaluations {
        let key = (t.statement.account, t.place());
        let first = by_place.entry(key).or_insert_with(|| t.guess());
        assert_eq!(*first, t.guess(), "two guesses at {:?}", t.place());
        // Each statement names the success before it: all guesses after one success count together.
        let since = (t.statement.account, t.statement.generation, t.statement.success, t.slot);
        by_region.entry(since).or_default().insert(t.guess());
        let used = t.statement.ordinal.0 - t.statement.success.0;
        assert!(used <= budget, "try {used} of {budget} at {:?}", t.place());
    }
    for (since, guesses) in by_region {
        assert!(guesses.len() as u64 <= budget, "{} guesses of {budget} at {since:?}", guesses.len());
    }
}
