//! Decisions one by one.

use super::crash_test::World;
use bkv_wire::documents::Kind;

use super::{Action, Custody, Verdict, next_actions};
use crate::conditions::Check;
use crate::journal::{Journal, JournalStage};
use crate::observe::Signed;
use bkv_admin_api::draft::Draft;

#[test]
fn the_journal_comes_before_anything_else() {
    let world = World::new(Custody::InFleet);
    let d = next_actions(&world.facts());
    assert!(
        matches!(&d.actions[..], [Action::WriteJournal(j)] if j.stage == JournalStage::Begun && j.seed == "a")
    );
}

#[test]
fn a_fleet_that_was_made_and_that_no_vault_knows_is_lost_and_nothing_is_done() {
    let mut world = World::new(Custody::InFleet);
    world.run();
    for vault in world.vaults.values_mut() {
        vault.lose_everything();
    }
    let d = next_actions(&world.facts());
    assert_eq!((d.verdict, d.actions.len()), (Verdict::Lost, 0));
    // A vault that is away may still know the fleet, so the operator waits and does nothing.
    world.vaults.get_mut("c").unwrap().up = false;
    let d = next_actions(&world.facts());
    assert_eq!(d.verdict, Verdict::Made);
    assert!(
        d.actions
            .iter()
            .all(|a| !matches!(a, Action::Initialise { .. } | Action::Sign { .. } | Action::Install { .. })),
        "{:?}",
        d.actions
    );
}

#[test]
fn a_vault_whose_keys_are_new_is_named_and_gets_no_documents() {
    let mut world = World::new(Custody::InFleet);
    world.run();
    world.vaults.get_mut("b").unwrap().lose_everything();
    let d = next_actions(&world.facts());
    assert!(d.actions.is_empty(), "{:?}", d.actions);
    assert!(d.waits.iter().any(|w| w.check == Check::MemberChanged && w.target == "b"), "{:?}", d.waits);
}

#[test]
fn a_lost_journal_is_written_again_from_what_the_vaults_know() {
    let mut world = World::new(Custody::InFleet);
    world.run();
    let before = world.journal.take().unwrap();
    world.run();
    assert_eq!(
        world.journal.as_ref().map(|j| (&j.fleet, j.stage)),
        Some((&before.fleet, JournalStage::Initialised))
    );
}

#[test]
fn another_fleets_vault_stops_everything() {
    let mut world = World::new(Custody::InFleet);
    world.run();
    world.vaults.get_mut("b").unwrap().fleet = Some("ff".repeat(16));
    let d = next_actions(&world.facts());
    assert_eq!((d.verdict, d.actions.len()), (Verdict::Contradiction, 0));
}

#[test]
fn a_replaced_root_stops_everything() {
    let mut world = World::new(Custody::InFleet);
    world.run();
    let other = Journal { fleet: "ee".repeat(16), ..world.journal.clone().unwrap() };
    world.journal = Some(other);
    for vault in world.vaults.values_mut() {
        vault.fleet = Some("ee".repeat(16));
    }
    assert_eq!(next_actions(&world.facts()).verdict, Verdict::Contradiction);
}

#[test]
fn a_changed_policy_is_signed_and_installed_with_the_next_number() {
    let mut world = World::new(Custody::InFleet);
    world.run();
    world.wish.max = 5;
    world.run();
    assert!(world.vaults.values().all(|v| v.policy == Some(2) && v.admission == Some(1)));
}

#[test]
fn documents_are_renewed_long_before_they_run_out() {
    let mut world = World::new(Custody::InFleet);
    world.run();
    world.now.0 += 300 * 24 * 3_600_000;
    world.run();
    assert!(world.vaults.values().all(|v| v.policy == Some(2) && v.admission == Some(2)));
}

#[test]
fn people_are_asked_once_and_what_they_sign_is_carried_on() {
    let mut world = World::new(Custody::Offline);
    world.run();
    let d = next_actions(&world.facts());
    assert_eq!(d.verdict, Verdict::AwaitingSignature);
    let checks: Vec<_> = d.waits.iter().map(|w| w.check).collect();
    assert!(
        checks.contains(&Check::AdmissionSignature) && checks.contains(&Check::PolicySignature),
        "{checks:?}"
    );
    assert!(world.vaults.values().all(|v| !v.initialised));
    world.people_sign();
    world.run();
    assert!(world.vaults.values().all(|v| v.initialised && v.admission == Some(1) && v.policy == Some(1)));
    assert!(!world.requested, "nothing is asked of people any more");
}

/// The operator does not carry a signed list with other members than it drafted to the vaults.
#[test]
fn a_signed_list_that_says_something_else_is_not_taken() {
    let mut world = World::new(Custody::Offline);
    world.run();
    world.people_sign();
    world.vaults.get_mut("b").unwrap().lose_everything();
    world.run();
    assert_eq!(next_actions(&world.facts()).verdict, Verdict::AwaitingSignature);
    assert!(world.vaults.values().all(|v| !v.initialised));
}

#[test]
fn without_the_issuers_keys_the_wait_names_the_field() {
    let mut world = World::new(Custody::InFleet);
    world.keys = false;
    world.run();
    let d = next_actions(&world.facts());
    assert!(d.waits.iter().any(|w| w.check == Check::IssuerKeys), "{:?}", d.waits);
    world.keys = true;
    world.run();
    assert_eq!(next_actions(&world.facts()).verdict, Verdict::Made);
}

/// An attacker deletes a ConfigMap or restores an older journal. The operator must not admit the attacker's vault.
#[test]
fn documents_that_are_gone_are_asked_of_the_vaults_and_never_made_anew_over_a_fleet() {
    let mut world = World::new(Custody::InFleet);
    world.run();
    world.vaults.get_mut("c").unwrap().lose_everything();
    world.documents = Signed::default();
    world.journal.as_mut().unwrap().stage = JournalStage::Begun;
    let d = next_actions(&world.facts());
    assert!(
        matches!(&d.actions[..], [Action::Recover { region, kind: Kind::Admission }] if region != "c"),
        "{:?}",
        d.actions
    );
    world.run();
    assert!(
        world.vaults["c"].admission.is_none() && world.vaults["c"].root.is_none(),
        "the newcomer gets nothing"
    );
    let d = next_actions(&world.facts());
    assert!(d.waits.iter().any(|w| w.check == Check::MemberChanged && w.target == "c"), "{:?}", d.waits);
}

#[test]
fn without_journal_and_vaults_a_published_root_or_old_volumes_stop_a_new_fleet() {
    let mut world = World::new(Custody::InFleet);
    world.run();
    let fleet = world.journal.take().unwrap().fleet;
    for vault in world.vaults.values_mut() {
        vault.up = false;
    }
    let d = next_actions(&world.facts());
    assert!(
        matches!(&d.actions[..], [Action::WriteJournal(j)] if j.fleet == fleet && j.stage == JournalStage::Initialising),
        "{:?}",
        d.actions
    );
    (world.root, world.remains) = (None, true);
    let d = next_actions(&world.facts());
    assert_eq!(
        (d.verdict, d.waits[0].check, d.actions.len()),
        (Verdict::Contradiction, Check::JournalGone, 0)
    );
}

/// A vault that reports another root is not asked to sign and does not get the root. It has lost its volumes, or it lies.
#[test]
fn a_vault_with_another_root_is_no_holder() {
    let mut world = World::new(Custody::InFleet);
    world.run();
    world.vaults.get_mut("a").unwrap().root = Some([99; 32]);
    world.wish.max = 7;
    let d = next_actions(&world.facts());
    assert!(
        d.actions.iter().any(|a| matches!(a, Action::Sign { region, .. } if region != "a")),
        "{:?}",
        d.actions
    );
}

#[test]
fn a_vault_that_says_a_huge_number_does_not_use_the_numbers_up() {
    let mut world = World::new(Custody::InFleet);
    world.run();
    world.vaults.get_mut("c").unwrap().policy = Some(u64::MAX);
    world.wish.max = 7;
    let d = next_actions(&world.facts());
    let drafted = d.actions.iter().find_map(|a| match a {
        Action::Sign { draft, .. } => match &**draft {
            Draft::Policy(p) => Some(p.number),
            Draft::Admission(_) => None,
        },
        _ => None,
    });
    assert_eq!(drafted, Some(2));
}

/// Slots come from the admission list, whatever the order of regions in the spec.
#[test]
fn regions_keep_their_slots_when_the_spec_is_sorted_anew() {
    let mut world = World::new(Custody::InFleet);
    world.run();
    let mut facts = world.facts();
    facts.regions =
        [(1, "c"), (2, "b"), (3, "a")].map(|(s, r)| (bkv_core::id::Slot(s), r.to_owned())).to_vec();
    let d = next_actions(&facts);
    assert!(d.waits.is_empty() && d.actions.is_empty(), "{d:?}");
}

/// A starting vault is a wait that ends by itself. In an initialised fleet, a vault whose pod runs and that does not answer needs a person.
#[test]
fn a_vault_that_runs_and_says_nothing_is_starting_before_the_fleet_is_made_and_silent_after() {
    let silent = |world: &mut World| {
        world.vaults.get_mut("b").unwrap().up = false;
        let mut facts = world.facts();
        facts.silent.insert("b".into(), "connection refused".into());
        next_actions(&facts).waits
    };
    let mut world = World::new(Custody::InFleet);
    world.run();
    let waits = silent(&mut world);
    assert_eq!((waits[0].check, waits[0].target.as_str()), (Check::VaultSilent, "b"));
    assert!(waits[0].message.contains("connection refused"), "{waits:?}");
    world.journal.as_mut().unwrap().stage = JournalStage::Initialising;
    let waits = silent(&mut world);
    assert_eq!((waits[0].check, waits[0].target.as_str()), (Check::VaultStarting, "b"));
}

/// While a region is away, another vault that restarts waits for it. The wait must report that, because nothing else helps.
#[test]
fn a_vault_that_started_says_whom_it_must_hear_from() {
    let mut world = World::new(Custody::InFleet);
    world.run();
    world.vaults.get_mut("c").unwrap().up = false;
    let mut facts = world.facts();
    let b = &mut facts.vaults.get_mut("b").unwrap().status;
    b.ready = false;
    b.shards =
        serde_json::from_value(serde_json::json!([{ "shard": 0, "phase": "joining", "waits_for": ["c"] }]))
            .unwrap();
    let waits = next_actions(&facts).waits;
    let said = waits.iter().find(|w| w.check == Check::VaultNotReady).unwrap();
    assert!(
        said.message.contains(
            "only after 2 serving regions, or all others, confirm that its disk is the newest. Missing: c."
        ),
        "{said:?}"
    );
}

/// A deleted root is published again. Meanwhile the status must not report that there is no fleet.
#[test]
fn what_is_published_anew_does_not_unmake_a_fleet() {
    let mut world = World::new(Custody::InFleet);
    world.run();
    let mut facts = world.facts();
    facts.root = None;
    let d = next_actions(&facts);
    assert!(matches!(&d.actions[..], [Action::PublishRoot { .. }]), "{d:?}");
    assert_eq!(d.verdict, Verdict::Made);
}

/// Keys by a URL that nobody can reach: everything looks well, and every token is refused.
#[test]
fn a_vault_that_never_read_the_issuers_keys_is_named() {
    let mut world = World::new(Custody::InFleet);
    world.run();
    let mut facts = world.facts();
    facts.vaults.get_mut("a").unwrap().status.issuer_keys_read = Some(0);
    facts.vaults.get_mut("b").unwrap().status.issuer_keys_read = Some(1_700_000_000);
    let stale = &mut facts.vaults.get_mut("c").unwrap().status;
    (stale.issuer_keys_read, stale.issuer_keys_fresh) = (Some(1_700_000_000), Some(false));
    let waits = next_actions(&facts).waits;
    assert_eq!(
        waits.iter().map(|w| (w.check, w.target.as_str())).collect::<Vec<_>>(),
        [(Check::IssuerKeysAway, "a"), (Check::IssuerKeysAway, "c")]
    );
}
