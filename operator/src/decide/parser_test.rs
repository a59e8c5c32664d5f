//! S38: a vault's answers, as an attacker who controls its region may write them. The decision never panics, and one vault's answer never makes the
//! operator initialise a fleet that exists, or write a journal that it can't read.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use super::crash_test::World;
use super::{Action, Custody, Facts, next_actions};
use crate::changed_test::{any_json, changed};
use crate::journal::Journal;
use crate::vaults::{Vault, VaultStatus, VaultToken};

/// The facts of a fleet that is made, with one value of vault `b`'s answers changed.
fn facts(world: &World, at: Index, with: &Value) -> Facts {
    let mut facts = world.facts();
    let vault = facts.vaults.get("b").unwrap();
    let status = changed(serde_json::to_value(&vault.status).unwrap(), at, with.clone());
    let token = changed(serde_json::to_value(&vault.token).unwrap(), at, with.clone());
    // An answer that does not parse counts as none.
    match serde_json::from_value::<VaultStatus>(status) {
        Ok(status) => {
            let token = serde_json::from_value::<VaultToken>(token).ok();
            facts.vaults.insert("b".into(), Vault { status, token });
        }
        Err(_) => drop(facts.vaults.remove("b")),
    }
    facts
}

fn made(custody: Custody) -> World {
    let mut world = World::new(custody);
    world.run();
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn s38_no_answer_of_one_vault_initialises_a_fleet_that_is_made(at: Index, with in any_json(), number: u64) {
        let mut facts = facts(&made(Custody::InFleet), at, &with);
        if let Some(vault) = facts.vaults.get_mut("b") {
            (vault.status.admission, vault.status.policy) = (Some(number), Some(number));
        }
        let decision = next_actions(&facts);
        let anew = |a: &Action| matches!(a, Action::Initialise { .. } | Action::WriteJournal(_));
        prop_assert!(!decision.actions.iter().any(anew));
    }

    #[test]
    fn s38_a_journal_that_a_vault_made_the_operator_write_can_be_read(at: Index, with in any_json(), fleet in proptest::option::of("[0-9a-f]{30,34}|.*")) {
        let mut world = made(Custody::InFleet);
        world.journal = None;
        let mut facts = facts(&world, at, &with);
        facts.new_id = "0e".repeat(16);
        if let Some(vault) = facts.vaults.get_mut("b") {
            vault.status.fleet = fleet;
        }
        for only in [true, false] {
            if only {
                facts.vaults.retain(|region, _| region == "b");
            }
            for action in next_actions(&facts).actions {
                if let Action::WriteJournal(journal) = action {
                    let written: BTreeMap<_, _> = journal.write();
                    prop_assert_eq!(Journal::read("main-fleet", &written), Ok(journal));
                }
            }
            facts = Facts { vaults: world.facts().vaults, ..facts };
        }
    }
}
