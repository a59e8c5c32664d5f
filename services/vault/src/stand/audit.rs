//! Judges what the witness saw: against what the disks had at that very moment, and against the budget.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bkv_core::command::{Batch, Command};
use bkv_core::id::{AccountId, Hash};
use bkv_wire::verifier::WireVerifier;
use openraft::EntryPayload;
use openraft::storage::RaftLogReader as _;

use super::disk::{Disk, Image};
use super::{Stand, Touch};
use crate::env::SystemClock;
use crate::keeper::TokenKeeper;
use crate::raft::log::Log;
use crate::raft::state::{AskVoters, State};

struct Nobody;

#[async_trait::async_trait]
impl AskVoters for Nobody {
    async fn agree(&self, _: u16, _: &AccountId, _: &Hash) -> bool {
        false
    }
}

/// Of one disk.
struct Held {
    /// The charge is in the log or in the state.
    charge: bool,
    /// The floor is this attempt's, or a later one's.
    floor: bool,
}

impl Stand {
    /// Opens a disk as a vault would that starts from it.
    async fn held(&self, vault: usize, image: &Image, touch: &Touch) -> Held {
        let (machine, word) = (&self.machines[vault], &touch.word);
        let store = machine.store(Disk::from_image(image.clone()));
        let mut log = Log::open(0, store.clone()).unwrap();
        let keeper = Arc::new(TokenKeeper::new(machine.token.clone(), Arc::new(crate::env::OsRandom)));
        let verifier = Arc::new(WireVerifier::new(machine.root.clone()));
        let (clock, nobody) = (Arc::new(SystemClock), Arc::new(Nobody));
        let state = State::open(log.clone(), 0, store, keeper, verifier, clock, nobody).unwrap();
        let begun = (word.generation, word.ordinal);
        let in_state =
            state.account(&word.account).unwrap().is_some_and(|a| (a.generation, a.ordinal) >= begun);
        let entries = log.try_get_log_entries(0..).await.unwrap();
        let in_log = entries.iter().any(|e| {
            let EntryPayload::Normal(bytes) = &e.payload else { return false };
            let batch: Batch = minicbor::decode(&bytes.0).unwrap();
            batch.commands.iter().any(|c| {
                matches!(c, Command::Begin(b) if b.account == word.account
                    && (b.generation, b.ordinal) == begun && (b.attempt, b.blinded) == touch.guess())
            })
        });
        let floor = state.floor(&word.account).unwrap().is_some_and(|f| {
            let here = (f.generation, f.ordinal);
            here > begun || (here == begun && (f.attempt, f.blinded) == touch.guess())
        });
        Held { charge: in_state || in_log, floor }
    }

    /// S08: when a share was touched, the charge was on the disks of a majority and the floor on that region's own.
    pub(crate) async fn audit_durability(&self, touches: &[Touch]) {
        for touch in touches {
            let mut charged = 0;
            for (vault, image) in touch.durable.iter().enumerate() {
                if image.is_empty() {
                    continue;
                }
                let held = self.held(vault, image, touch).await;
                charged += usize::from(held.charge);
                let own = usize::from(touch.slot.0) == vault + 1;
                assert!(
                    !own || held.floor,
                    "slot {} evaluated {:?} without a floor on its disk",
                    touch.slot,
                    touch.place()
                );
            }
            assert!(
                charged >= 2,
                "slot {} evaluated {:?}: the charge was on {charged} of 3 disks",
                touch.slot,
                touch.place()
            );
        }
    }
}

/// S09, S10: one guess an ordinal, ever, in all regions; and no more guesses in any region between two successes than the budget.
pub(crate) fn audit_budget(touches: &[Touch], budget: u64) {
    let mut by_place = BTreeMap::new();
    let mut by_region: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for t in touches {
        let key = (t.word.account, t.place());
        let first = by_place.entry(key).or_insert_with(|| t.guess());
        assert_eq!(*first, t.guess(), "two guesses at {:?}", t.place());
        // Regions sign the success before; all guesses on one success count together.
        let since = (t.word.account, t.word.generation, t.word.success, t.slot);
        by_region.entry(since).or_default().insert(t.guess());
        let used = t.word.ordinal.0 - t.word.success.0;
        assert!(used <= budget, "try {used} of {budget} at {:?}", t.place());
    }
    for (since, guesses) in by_region {
        assert!(guesses.len() as u64 <= budget, "{} guesses of {budget} at {since:?}", guesses.len());
    }
}
