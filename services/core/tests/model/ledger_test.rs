//! S16, S29, S54: the writers' map, case by case.

use super::case::{Case, WHO, no, policy};
use super::fake::Fake;
use super::machine::account;
use super::op::{self, By, ledger_name, writer};
use bkv_core::account::Account;
use bkv_core::command::{Command, SetLedger};
use bkv_core::event::EventKind;
use bkv_core::id::Hash;
use bkv_core::outcome::{Outcome, Refusal};
use bkv_core::secret::Secret32;
use bkv_core::snapshot::{Contradiction, judge};
use bkv_core::writers::{GRACE_MS, MAX_WRITERS, RETIRED_MS, Writer};

fn naming(case: &Case, of: u8, counter: u8, v: u8) -> SetLedger {
    op::set_ledger(&case.model, case.clock, WHO, of, counter, v, counter, By::Owner)
}

fn set(case: &mut Case, of: u8, counter: u8, v: u8) -> Outcome {
    let set = naming(case, of, counter, v);
    case.apply(&Command::SetLedger(set))
}

fn forget(case: &mut Case, of: u8) -> Outcome {
    let forget = op::forget_writer(&case.model, case.clock, WHO, of, 100 + of, By::Owner);
    case.apply(&Command::ForgetWriter(forget))
}

#[allow(clippy::unnecessary_wraps)] // compared with optional fields
fn v(byte: u8) -> Option<Secret32> {
    Some(Secret32::new([byte; 32]))
}

fn one(case: &Case) -> &Writer {
    let [writer] = &case.account().writers[..] else { panic!("{:?}", case.account().writers) };
    writer
}

/// The grace time is a promise of the docs and of every client's texts.
#[test]
fn the_times_and_numbers_of_the_map_are_those_that_the_docs_name() {
    let day = 24 * 3600 * 1000;
    assert_eq!((GRACE_MS, RETIRED_MS, MAX_WRITERS), (7 * day, 90 * day, 16));
}

/// Two devices with a copy of one writer's state: the second one's ledger would hide the first one's backups.
#[test]
fn s29_another_devices_stale_expected_hash_is_refused() {
    let mut case = Case::registered(&policy());
    assert_eq!(set(&mut case, 1, 1, 1), Outcome::Done);
    assert_eq!(case.events(), [EventKind::Named]);
    let (twin, unknown) = (naming(&case, 1, 3, 0), naming(&Case::registered(&policy()), 1, 4, 0));
    assert_eq!(set(&mut case, 1, 2, 0), Outcome::Done);
    for stale in [twin, unknown] {
        assert_eq!(case.apply(&Command::SetLedger(stale)), no(Refusal::OtherLedger));
    }
    assert_eq!((one(&case).ledger, one(&case).v.clone()), (ledger_name(2), v(1)), "V stays");
    let same = op::set_ledger(&case.model, case.clock, WHO, 1, 2, 0, 77, By::Owner);
    assert_eq!(case.apply(&Command::SetLedger(same)), no(Refusal::OldLedger), "the counter must rise");
    let other = op::set_ledger(&case.model, case.clock, WHO, 1, 9, 0, 9, By::Stranger);
    assert_eq!(case.apply(&Command::SetLedger(other)), no(Refusal::Owner));
}

/// What is signed binds everything. An attacker who has a genuine signature can't use it for another ledger, another V or another writer.
#[test]
fn s16_a_signature_on_a_ledger_holds_for_that_ledger_only() {
    let mut case = Case::registered(&policy());
    assert_eq!(set(&mut case, 1, 1, 1), Outcome::Done);
    let (plain, with_v) = (naming(&case, 1, 2, 0), naming(&case, 1, 2, 2));
    let changes: [(&str, fn(&mut SetLedger)); 7] = [
        ("another writer", |c| c.writer = writer(2)),
        ("no expected hash", |c| c.expected = None),
        ("another counter", |c| c.ledger.counter = 200),
        ("another hash", |c| c.ledger.hash = Hash([9; 32])),
        ("another V", |c| c.v = v(9)),
        ("a later expiry", |c| c.owner.expires = c.owner.expires.plus(1)),
        ("another operation", |c| c.owner.operation.0[0] ^= 1),
    ];
    for signed in [&plain, &with_v] {
        for (what, change) in changes {
            let mut forged = signed.clone();
            change(&mut forged);
            assert!(matches!(case.apply(&Command::SetLedger(forged)), Outcome::Refused(_)), "{what}");
        }
    }
    let stripped = SetLedger { v: None, ..with_v };
    assert_eq!(case.apply(&Command::SetLedger(stripped)), no(Refusal::Owner), "a change of V without it");
    // A repetition is free. After a change of password the signature is void.
    let command = Command::SetLedger(plain);
    assert_eq!(case.apply(&command), Outcome::Done);
    assert_eq!(case.apply(&command), Outcome::Done);
    assert!(case.events().is_empty());
}

/// S54: a thief of key and token, or a fault, must not make everything unreadable at once, and what was let go must end.
#[test]
fn s54_v_changes_once_in_seven_days_can_be_taken_back_and_is_then_erased() {
    let mut case = Case::registered(&policy());
    assert_eq!(set(&mut case, 1, 1, 1), Outcome::Done);
    assert_eq!(set(&mut case, 1, 2, 2), Outcome::Done, "the first change");
    let until = case.clock.plus(GRACE_MS);
    let before = one(&case).before.clone().unwrap();
    assert_eq!((Some(before.v), before.until), (v(1), until));
    case.wait(GRACE_MS - 1000);
    assert_eq!(set(&mut case, 1, 3, 3), no(Refusal::VTooSoon(until)));
    assert_eq!(set(&mut case, 1, 3, 0), Outcome::Done, "a ledger without a new V");
    assert_eq!(set(&mut case, 1, 4, 1), Outcome::Done, "taken back");
    // What was in force until now stays for the grace time too: else a thief could take back what the owner has taken back, at the last moment.
    let until = case.clock.plus(GRACE_MS);
    assert_eq!((one(&case).v.clone(), one(&case).before.clone().unwrap().until), (v(1), until));
    assert_eq!(case.account().deadline(), Some(until));
    case.wait(GRACE_MS);
    assert_eq!(case.expire(), no(Refusal::Stale));
    case.wait(1);
    assert_eq!(case.expire(), Outcome::Done);
    assert_eq!((one(&case).before.clone(), one(&case).v.clone()), (None, v(1)));
    assert_eq!(case.account().deadline(), None);
}

#[test]
fn s54_the_seventeenth_writer_is_refused_and_a_forgotten_one_makes_room() {
    let mut case = Case::registered(&policy());
    for of in 0..16 {
        assert_eq!(set(&mut case, of, 1, u8::from(of > 0)), Outcome::Done);
    }
    assert_eq!(set(&mut case, 16, 1, 1), no(Refusal::TooManyWriters));
    assert_eq!(set(&mut case, 15, 2, 0), Outcome::Done, "those that are there go on");
    // A forgotten one can be taken back for 7 days, and makes room then.
    let kept_back = op::forget_writer(&case.model, case.clock, WHO, 1, 7, By::Owner);
    assert_eq!(forget(&mut case, 1), Outcome::Done);
    assert_eq!(set(&mut case, 17, 1, 1), no(Refusal::TooManyWriters));
    assert_eq!(set(&mut case, 1, 2, 0), Outcome::Done);
    assert_eq!(case.account().writers[0].forgotten, None);
    let replayed = case.apply(&Command::ForgetWriter(kept_back));
    assert_eq!(replayed, no(Refusal::OtherLedger), "an old signature forgets no writer that has gone on");
    assert_eq!(forget(&mut case, 1), Outcome::Done);
    case.wait(GRACE_MS + 1);
    assert_eq!(case.expire(), Outcome::Done);
    assert_eq!(set(&mut case, 17, 1, 1), Outcome::Done);
    assert_eq!((case.account().writers.len(), case.account().forgotten), (16, 1));
}

/// K9: ten wrong guesses by a thief of a token destroy the vault's copy of the key, and not the backups.
#[test]
fn s54_an_exhausted_key_leaves_its_map_to_its_owner_for_ninety_days() {
    let mut case = Case::registered(&policy());
    assert_eq!(set(&mut case, 1, 1, 1), Outcome::Done);
    assert_eq!(set(&mut case, 1, 2, 2), Outcome::Done);
    let (writers, owner) =
        (case.account().writers.clone(), case.account().live.clone().unwrap().record.owner);
    case.last_try(9);
    assert_eq!(case.give_up(9), Outcome::Done);
    assert!(case.account().writers.is_empty());
    let retired = case.account().retired[0].clone();
    assert_eq!((retired.owner, retired.writers), (owner, writers));
    assert_eq!(retired.until, case.machine.shard.time.plus(RETIRED_MS));
    // The V before it goes in its own time.
    case.wait(GRACE_MS + 1);
    assert_eq!(case.expire(), Outcome::Done);
    assert_eq!(case.account().retired[0].writers[0].before, None);
    case.wait(RETIRED_MS);
    assert_eq!(case.expire(), Outcome::Done);
    assert!(case.account().retired.is_empty());
}

#[test]
fn s54_a_deleted_keys_map_goes_after_seven_days() {
    let mut case = Case::registered(&policy());
    assert_eq!(set(&mut case, 1, 1, 1), Outcome::Done);
    let delete = op::delete(&case.model, case.clock, WHO, 50, By::Owner);
    assert_eq!(case.apply(&delete), Outcome::Done);
    assert_eq!(case.account().deadline(), Some(case.clock.plus(GRACE_MS)));
    case.wait(GRACE_MS + 1);
    assert_eq!(case.expire(), Outcome::Done);
    assert!(case.account().retired.is_empty() && case.account().writers.is_empty());
}

/// A registration under another owner key starts with an empty map. The old one stays for the old key.
#[test]
fn s54_another_key_starts_with_an_empty_map() {
    let mut case = Case::registered(&policy());
    assert_eq!(set(&mut case, 1, 1, 1), Outcome::Done);
    let writers = case.account().writers.clone();
    case.register(1, By::Owner);
    assert_ne!(case.account().live.as_ref().unwrap().record.owner, op::owner_key(WHO, 0));
    assert!(case.account().writers.is_empty());
    assert_eq!(case.account().retired[0].writers, writers);
    assert_eq!(set(&mut case, 1, 1, 3), Outcome::Done, "which is another key's");
    assert_eq!(case.account().writers[0].v, v(3));
}

/// An attacker with a token registers keys of its own after the owner's was destroyed, and deletes them. The owner's map must outlive theirs.
#[test]
fn s54_maps_of_an_attackers_deleted_keys_do_not_push_out_the_owners() {
    let mut case = Case::registered(&policy());
    assert_eq!(set(&mut case, 1, 1, 1), Outcome::Done);
    case.last_try(9);
    assert_eq!(case.give_up(9), Outcome::Done);
    let owners = case.account().retired[0].clone();
    for reg in 1..5 {
        case.register(reg, By::Nobody);
        assert_eq!(set(&mut case, 1, 10 + reg, 3), Outcome::Done);
        let delete = op::delete(&case.model, case.clock, WHO, 50 + reg, By::Owner);
        assert_eq!(case.apply(&delete), Outcome::Done);
        assert!(case.account().retired.contains(&owners), "after {reg} keys");
        assert!(case.account().retired.len() <= 2);
    }
}

/// S54: from every state of the owner's key, an attacker's keys take one another's place and leave a map each time. Junk that is younger than the owner's key never pushes out its map.
#[test]
fn s54_maps_of_keys_that_an_attacker_overwrites_do_not_push_out_the_owners() {
    fn exhaust(case: &mut Case) {
        case.last_try(9);
        assert_eq!(case.give_up(9), Outcome::Done);
    }
    fn delete(case: &mut Case) {
        let delete = op::delete(&case.model, case.clock, WHO, 50, By::Owner);
        assert_eq!(case.apply(&delete), Outcome::Done);
    }
    let ends: [(&str, fn(&mut Case), By); 3] = [
        ("exhausted", exhaust, By::Nobody),
        ("deleted", delete, By::Nobody),
        ("overwritten by a thief of the key", |_| {}, By::Owner),
    ];
    for (what, end, by) in ends {
        let mut case = Case::registered(&policy());
        assert_eq!(set(&mut case, 1, 1, 1), Outcome::Done);
        let owners = case.account().writers.clone();
        end(&mut case);
        for (reg, by) in [(1, by), (2, By::Owner), (3, By::Owner), (4, By::Owner)] {
            case.register(reg, by);
            assert_eq!(set(&mut case, 1, 10 + reg, 3), Outcome::Done);
            assert!(case.account().retired.iter().any(|r| r.writers == owners), "{what}, after {reg} keys");
        }
        // The owner's key takes its map over, though two others are kept and a third is live. Then it ends again, among junk that came before.
        case.register(8, By::Owner);
        assert_eq!(case.account().writers, owners, "{what}");
        exhaust(&mut case);
        assert!(case.account().retired.iter().any(|r| r.writers == owners), "{what}, at its second end");
    }
}

/// S49: a person names a writer again at a lower counter, once it was forgotten. A region that was away meanwhile must take the snapshot: else one account keeps it away for good.
#[test]
fn s49_a_writer_that_begins_again_is_no_rollback() {
    let mut case = Case::registered(&policy());
    assert_eq!(set(&mut case, 1, 100, 1), Outcome::Done);
    let away = case.account().clone();
    assert_eq!(forget(&mut case, 1), Outcome::Done);
    case.wait(GRACE_MS + 1);
    assert_eq!(case.expire(), Outcome::Done);
    assert_eq!(set(&mut case, 1, 1, 2), Outcome::Done);
    let now = case.account().clone();
    let judged = |theirs| judge(case.machine.fleet(), &account(WHO), Some(&away), Some(theirs), &Fake);
    assert_eq!(judged(&now), Ok(()));
    let claimed = Account { forgotten: 0, ..now.clone() };
    assert_eq!(judged(&claimed), Err(Contradiction::Writers));
}

/// The same owner key again, as after a change of password or after the key was destroyed, has its map again.
#[test]
fn s54_the_map_survives_a_password_change_and_a_new_registration_of_the_same_key() {
    let mut case = Case::registered(&policy());
    assert_eq!(set(&mut case, 1, 1, 1), Outcome::Done);
    let writers = case.account().writers.clone();
    case.register(8, By::Owner);
    assert_eq!(case.account().writers, writers, "a new password");
    assert!(case.account().retired.is_empty());
    case.last_try(9);
    assert_eq!(case.give_up(9), Outcome::Done);
    assert!(case.account().writers.is_empty());
    case.register(15, By::Nobody);
    assert_eq!((case.account().writers.clone(), case.account().retired.len()), (writers, 0));
}
