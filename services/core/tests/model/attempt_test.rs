//! A small case for each refusal and each transition of an attempt.

use super::case::{Case, WHO, again, charged, no, policy, signed_finish};
use super::machine::account;
use super::op::{self, By, attempt_id, blinded};
use bkv_core::account::{Cause, State};
use bkv_core::command::{Begin, Command, GiveUp};
use bkv_core::effect::Effect;
use bkv_core::event::EventKind;
use bkv_core::id::{Generation, Hash, Ordinal, Time};
use bkv_core::outcome::{Outcome, Refusal};
use bkv_core::record::AttemptPolicy;
use bkv_core::secret::Secret32;

fn has_floor(case: &Case) -> bool {
    case.effects.iter().any(|e| matches!(e, Effect::Floor { .. }))
}

/// A case's next Begin, for a test to change.
fn beginning(case: &Case, attempt: u8, b: u8) -> Begin {
    let Command::Begin(c) = op::begin(&case.model, WHO, attempt, b, 0, true) else { unreachable!() };
    c
}

#[test]
fn without_a_live_key_attempts_are_refused_with_the_reason() {
    let mut stored = Case::new(&policy());
    let store = stored.storing(0, By::Nobody);
    assert_eq!(stored.store(&store), Outcome::Done);
    let cases = [
        (Case::new(&policy()), Refusal::NoKey),
        (stored, Refusal::NoKey),
        (Case::destroyed(&policy()), Refusal::Destroyed),
        (Case::deleted(&policy()), Refusal::Deleted),
    ];
    for (mut case, why) in cases {
        assert_eq!(case.begin(1, 1), no(why));
        assert_eq!(case.give_up(1), no(why));
        assert_eq!(case.apply(&signed_finish(1, 0, 1, 1, 1, blinded(1))), no(why));
    }
}

#[test]
fn s08_a_begin_is_charged_once_and_asks_for_its_floor() {
    let mut case = Case::registered(&policy());
    assert_eq!(case.begin(1, 7), charged(1));
    assert_eq!((case.events(), has_floor(&case)), (vec![EventKind::Attempt], true));
    let a = case.account().clone();
    assert_eq!((a.tries_left(), a.ordinal.0, a.lifetime_failures, a.state()), (2, 1, 1, State::Live));
    let p = a.pending.unwrap();
    assert_eq!((p.attempt, p.blinded, p.ordinal, p.last), (attempt_id(1), blinded(7), Ordinal(1), false));
    assert_eq!((p.deadline, p.success_before), (case.clock.plus(100), Ordinal(0)));
    assert!(case.effects.contains(&Effect::Deadline { account: account(WHO), at: Some(p.deadline) }));
}

#[test]
fn s11_the_same_attempt_again_is_free_and_another_b_under_its_id_is_refused() {
    let mut case = Case::registered(&policy());
    assert_eq!(case.begin(1, 7), charged(1));
    let before = case.account().clone();
    for _ in 0..5 {
        // The ordinal in a repeated Begin does not matter.
        assert_eq!(case.begin(1, 7), again(1));
        assert!(case.effects.is_empty());
    }
    assert_eq!(case.begin(1, 8), no(Refusal::Conflict));
    let other_cancel = Begin { cancel: Hash([1; 32]), ..beginning(&case, 1, 7) };
    assert_eq!(case.apply(&Command::Begin(other_cancel)), no(Refusal::Conflict));
    assert_eq!(*case.account(), before);
}

#[test]
fn an_attempt_out_of_order_is_refused() {
    let mut case = Case::registered(&policy());
    case.fail(1);
    for skew in [-2, -1, 1] {
        let c = op::begin(&case.model, WHO, 2, 1, skew, true);
        assert_eq!(case.apply(&c), no(Refusal::Stale), "{skew}");
    }
    for generation in [0, 2] {
        let mut c = beginning(&case, 2, 1);
        c.generation.0 = generation;
        assert_eq!(case.apply(&Command::Begin(c)), no(Refusal::Stale));
    }
    assert_eq!(case.begin(2, 1), charged(2));
}

#[test]
fn s02_an_invalid_element_costs_no_try() {
    let mut case = Case::registered(&policy());
    assert_eq!(case.begin(1, 0), no(Refusal::Element));
    assert_eq!(case.account().tries_left(), 3);
    assert_eq!(case.begin(1, 1), charged(1));
}

#[test]
fn s18_a_wait_is_judged_by_entry_time_to_the_millisecond() {
    let mut case = Case::registered(&policy());
    case.fail(1);
    case.fail(2);
    let until = case.account().next_allowed;
    assert_eq!(until, case.clock.plus(60), "from the Begin of the second failure");
    assert_eq!(case.begin(3, 1), no(Refusal::Wait(until)));
    case.wait(59);
    assert_eq!(case.begin(3, 1), no(Refusal::Wait(until)));
    assert_eq!(case.account().tries_left(), 1);
    case.wait(1);
    assert_eq!(case.begin(3, 1), charged(3));
}

/// S40, S18: a leader whose clock is behind makes no wait longer and reopens no attempt. Entry time stands still until the clock has caught up.
#[test]
fn s40_time_never_goes_back() {
    let mut case = Case::registered(&policy());
    case.fail(1);
    case.fail(2);
    let (until, now) = (case.account().next_allowed, case.clock);
    case.clock = Time(5);
    assert_eq!(case.begin(3, 1), no(Refusal::Wait(until)));
    assert_eq!(case.machine.shard.time, now);
    case.clock = until;
    assert_eq!(case.begin(3, 1), charged(3));
    let deadline = case.account().pending.as_ref().unwrap().deadline;
    case.clock = deadline.plus(1);
    assert_eq!(case.begin(4, 1), no(Refusal::LastTryOpen(deadline)));
    case.clock = Time(5);
    assert_eq!(case.finish(3), no(Refusal::Expired), "an older clock does not reopen it");
}

#[test]
fn a_later_attempt_supersedes_an_open_one_whose_id_is_refused_from_then_on() {
    let mut case = Case::registered(&policy());
    assert_eq!(case.begin(1, 1), charged(1));
    assert_eq!(case.begin(2, 1), charged(2));
    assert_eq!(case.events(), [EventKind::Failed, EventKind::Attempt]);
    case.wait(60);
    assert_eq!(case.begin(1, 1), no(Refusal::NoAttempt));
    assert_eq!(case.give_up(1), no(Refusal::NoAttempt));
    assert_eq!(case.apply(&signed_finish(1, 0, 1, 1, 1, blinded(1))), no(Refusal::NoAttempt));
    assert_eq!((case.account().tries_left(), case.account().lifetime_failures), (1, 2));
    assert_eq!(case.finish(2), Outcome::Done);
}

/// S09: a late repetition of an ended attempt is not charged as a new attempt, however it ended.
#[test]
fn s09_ids_that_have_ended_stay_ended() {
    let mut case = Case::registered(&AttemptPolicy { max: 9, ..policy() });
    case.fail(1); // given up
    assert_eq!(case.begin(2, 1), charged(2)); // superseded
    case.wait(60);
    assert_eq!(case.begin(3, 1), charged(3)); // past its deadline
    case.wait(101);
    assert_eq!(case.expire(), Outcome::Done);
    assert_eq!(case.begin(4, 1), charged(4)); // proved
    assert_eq!(case.finish(4), Outcome::Done);
    for attempt in 1..=4 {
        assert_eq!(case.begin(attempt, 1), no(Refusal::NoAttempt), "{attempt}");
    }
    assert_eq!(case.account().ordinal.0, 4);
    // The account keeps at most as many ids as the budget has tries.
    for attempt in 10..30 {
        case.fail(attempt);
        case.clock = case.clock.max(case.account().next_allowed);
        case.begin(attempt + 100, 1);
        assert_eq!(case.finish(attempt + 100), Outcome::Done);
    }
    assert_eq!(case.account().failed.len(), 9);
}

#[test]
fn s09_exactly_the_budget_is_possible_and_the_last_may_succeed() {
    let mut case = Case::registered(&policy());
    case.last_try(3);
    let p = case.account().pending.clone().unwrap();
    assert_eq!((p.ordinal.0, p.last, p.deadline), (3, true, case.clock.plus(500)));
    case.wait(499);
    assert_eq!(case.begin(3, 1), again(3), "that attempt may be repeated");
    assert_eq!(case.begin(3, 2), no(Refusal::Conflict));
    assert_eq!(case.begin(4, 1), no(Refusal::LastTryOpen(p.deadline)), "and no other");
    assert_eq!(case.finish(3), Outcome::Done);
    assert_eq!(case.events(), [EventKind::Recovered]);
    assert_eq!((case.state(), case.account().tries_left()), (State::Live, 3));
    assert_eq!(case.account().next_allowed, case.clock, "a success ends the waits");
    assert_eq!(case.account().lifetime_failures, 2, "S15: and forgives no earlier failure");
}

#[test]
fn s14_giving_the_last_try_up_destroys_in_that_entry() {
    let mut case = Case::registered(&policy());
    case.last_try(3);
    let reg_id = case.account().live.as_ref().unwrap().record.reg_id;
    assert_eq!(case.give_up(3), Outcome::Done);
    assert_eq!(case.events(), [EventKind::Failed, EventKind::Ended(Cause::Exhausted)]);
    assert!(case.effects.contains(&Effect::EraseSecrets { account: account(WHO), reg_id }));
    let a = case.account();
    assert_eq!((a.state(), a.live.is_none(), a.finished_seed.is_none()), (State::Destroyed, true, true));
    assert_eq!((a.generation.0, a.ended.unwrap().reg_id), (1, reg_id), "the tombstone keeps the generation");
    assert_eq!(case.finish(3), no(Refusal::Destroyed));
}

#[test]
fn s09_the_last_trys_deadline_destroys_and_not_a_moment_before() {
    let mut case = Case::registered(&policy());
    case.last_try(3);
    assert_eq!(case.expire(), no(Refusal::Stale));
    case.wait(500);
    assert_eq!(case.expire(), no(Refusal::Stale), "the deadline itself is still in time");
    assert_eq!(case.clone().finish(3), Outcome::Done);
    case.wait(1);
    assert_eq!(case.finish(3), no(Refusal::Expired), "also before an Expire");
    assert_eq!(case.expire(), Outcome::Done);
    assert_eq!(case.state(), State::Destroyed);
    assert_eq!(case.expire(), no(Refusal::Stale));
}

/// S16: an owner who has the key on a device can register again without a try.
#[test]
fn s16_an_owner_signed_registration_rescues_from_the_last_try() {
    let mut case = Case::registered(&policy());
    case.last_try(3);
    case.register(1, By::Owner);
    let a = case.account();
    assert_eq!((a.state(), a.tries_left(), a.ordinal.0, a.pending.is_none()), (State::Live, 3, 0, true));
    assert_eq!(case.give_up(3), no(Refusal::NoAttempt), "the open try is gone with its record");
    assert_eq!(case.begin(4, 1), charged(1));
}

#[test]
fn an_ordinary_attempts_deadline_ends_it_and_no_more() {
    let mut case = Case::registered(&policy());
    assert_eq!(case.begin(1, 1), charged(1));
    case.wait(100);
    assert_eq!(case.expire(), no(Refusal::Stale));
    case.wait(1);
    assert_eq!(case.finish(1), no(Refusal::Expired), "also before an Expire");
    assert_eq!(case.expire(), Outcome::Done);
    assert_eq!(case.events(), [EventKind::Failed]);
    assert_eq!((case.state(), case.account().tries_left()), (State::Live, 2));
    assert_eq!(Case::new(&policy()).expire(), no(Refusal::NoKey));
}

#[test]
fn s15_at_the_lifetime_limit_it_locks_and_destroys_nothing() {
    let mut case = Case::registered(&AttemptPolicy { lifetime_failures: 4, waits_ms: vec![], ..policy() });
    for attempt in 1..=2 {
        case.fail(attempt);
        case.begin(attempt + 100, 1);
        assert_eq!(case.finish(attempt + 100), Outcome::Done);
        assert_eq!(
            case.account().lifetime_failures,
            u32::from(attempt),
            "S15: a success forgives only itself"
        );
    }
    case.fail(3);
    assert_eq!(case.begin(4, 1), charged(6));
    assert_eq!(case.state(), State::Locked);
    assert_eq!(case.begin(4, 1), again(6), "the open attempt is still its own");
    let mut proved = case.clone();
    assert_eq!(proved.finish(4), Outcome::Done);
    assert_eq!((proved.state(), proved.account().lifetime_failures), (State::Live, 3));
    assert_eq!(case.begin(5, 1), no(Refusal::Locked), "also in an open attempt's place");
    assert_eq!(case.give_up(4), Outcome::Done);
    assert_eq!((case.state(), case.account().tries_left()), (State::Locked, 1));
    assert_eq!(case.begin(5, 1), no(Refusal::Locked));
}

#[test]
fn without_any_budget_nothing_begins() {
    let mut case = Case::registered(&AttemptPolicy { max: 0, ..policy() });
    assert_eq!(case.begin(1, 1), no(Refusal::Exhausted));
}

/// S15: only a signature over account, generation, ordinal, attempt and B of the open attempt counts.
#[test]
fn s15_a_proof_of_anything_else_changes_nothing() {
    let mut case = Case::registered(&policy());
    case.register(1, By::Owner);
    case.fail(1);
    assert_eq!(case.begin(2, 7), charged(2));
    let before = case.account().clone();
    let wrong = [
        ("another client key", signed_finish(2, 0, 2, 2, 2, blinded(7))),
        ("another generation", signed_finish(2, 1, 1, 2, 2, blinded(7))),
        ("an earlier ordinal", signed_finish(2, 1, 2, 1, 2, blinded(7))),
        ("a later ordinal", signed_finish(2, 1, 2, 3, 2, blinded(7))),
        ("another attempt", signed_finish(2, 1, 2, 2, 1, blinded(7))),
        ("another B", signed_finish(2, 1, 2, 2, 2, blinded(8))),
    ];
    for (what, finish) in wrong {
        assert_eq!(case.apply(&finish), no(Refusal::Proof), "{what}");
    }
    for harm in 7..=8 {
        let torn = op::finish(&case.model, WHO, Some(2), harm);
        assert_eq!(case.apply(&torn), no(Refusal::Proof));
    }
    assert_eq!(
        case.apply(&signed_finish(1, 1, 2, 1, 1, blinded(1))),
        no(Refusal::NoAttempt),
        "one that failed"
    );
    assert_eq!(*case.account(), before);
    assert_eq!(case.apply(&signed_finish(2, 1, 2, 2, 2, blinded(7))), Outcome::Done);
}

/// S15: the transcript of a success proves nothing for a new attempt.
#[test]
fn s15_an_old_transcript_refills_nothing() {
    let mut case = Case::registered(&policy());
    assert_eq!(case.begin(1, 1), charged(1));
    let Command::Finish(old) = op::finish(&case.model, WHO, Some(1), 0) else { unreachable!() };
    assert_eq!(case.apply(&Command::Finish(old.clone())), Outcome::Done);
    assert_eq!(case.begin(2, 1), charged(2));
    let mut under_a_new_name = old;
    under_a_new_name.attempt = attempt_id(2);
    assert_eq!(case.apply(&Command::Finish(under_a_new_name)), no(Refusal::Proof));
    assert_eq!(case.account().tries_left(), 2);
}

/// S11: the vault repeats a lost reply only to a client that proves the password again.
#[test]
fn s11_finish_again_is_free_and_needs_its_proof() {
    let mut case = Case::registered(&policy());
    case.fail(1);
    case.begin(2, 1);
    assert_eq!(case.finish(2), Outcome::Done);
    let before = case.account().clone();
    assert_eq!(before.lifetime_failures, 1);
    for _ in 0..3 {
        assert_eq!(case.finish(2), Outcome::Done);
        assert!(case.effects.is_empty());
    }
    for harm in 1..=8 {
        let bad = op::finish(&case.model, WHO, Some(2), harm);
        assert_eq!(case.apply(&bad), no(Refusal::Proof), "{harm}");
    }
    assert_eq!(*case.account(), before);
}

/// An attacker who saw an attempt's id can't end the attempt, because only its client has the preimage.
#[test]
fn giving_up_takes_the_preimage_of_the_cancel_hash() {
    let mut case = Case::registered(&policy());
    case.last_try(3);
    let of_another =
        GiveUp { account: account(WHO), attempt: attempt_id(3), cancel: Secret32::new(op::cancel(4)) };
    assert_eq!(case.apply(&Command::GiveUp(of_another)), no(Refusal::Proof));
    assert_eq!(case.apply(&op::give_up(WHO, 3, false)), no(Refusal::Proof));
    assert_eq!(case.give_up(4), no(Refusal::NoAttempt));
    assert_eq!(case.state(), State::LastTry);
    assert_eq!(case.give_up(3), Outcome::Done);
}

/// S09: a thief of the file that a device keeps of its last try has the try's id, and guesses at its B. Ordinary attempts are not kept, and count nothing.
#[test]
fn s09_after_eight_conflicts_a_last_try_answers_no_begin() {
    let mut case = Case::registered(&policy());
    assert_eq!(case.begin(1, 1), charged(1));
    for _ in 0..20 {
        assert_eq!(case.begin(1, 2), no(Refusal::Conflict));
    }
    assert_eq!(case.begin(1, 1), again(1));
    case.last_try(3);
    for n in 0..8 {
        assert_eq!(case.begin(3, 1), again(3), "{n} conflicts");
        assert_eq!(case.begin(3, 2), no(Refusal::Conflict));
    }
    let until = case.account().pending.as_ref().unwrap().deadline;
    for b in [1, 2] {
        assert_eq!(case.begin(3, b), no(Refusal::LastTryOpen(until)));
    }
    assert_eq!(case.account().pending.as_ref().unwrap().conflicts, 8);
    // The client that has begun it can still finish.
    assert_eq!(case.finish(3), Outcome::Done);
    assert_eq!(case.account().tries_left(), 3);
}

/// S09: two devices that each saw two tries left. The one that comes second would use the last try without its user's consent.
#[test]
fn s09_the_last_try_needs_consent_in_its_begin() {
    let mut case = Case::registered(&policy());
    case.fail(1);
    case.fail(2);
    let until = case.account().next_allowed;
    case.clock = case.clock.max(until);
    assert_eq!(case.account().tries_left(), 1);
    let without = Begin { may_be_last: false, ..beginning(&case, 3, 1) };
    assert_eq!(case.apply(&Command::Begin(without.clone())), no(Refusal::LastTry));
    assert_eq!(case.account().tries_left(), 1);
    // The same attempt may come again with consent. A repetition needs none.
    assert_eq!(case.begin(3, 1), charged(3));
    assert_eq!(case.apply(&Command::Begin(without)), again(3));
}

/// S46: a leader that has no valid token of the person gets no permit of an honest region, so it can't begin what may destroy the key.
#[test]
fn s46_the_last_try_needs_permits_of_t_regions_for_exactly_this_attempt() {
    let mut case = Case::registered(&policy());
    case.fail(1);
    case.fail(2);
    case.clock = case.clock.max(case.account().next_allowed);
    let good = beginning(&case, 3, 1);
    let number = case.model.documents.admission.number;
    let of = |lie: Begin, slots: &[u8]| op::permits(&lie, number, slots);
    let later = Begin { ordinal: Ordinal(4), ..good.clone() };
    let next = Begin { generation: Generation(2), ..good.clone() };
    let other = Begin { blinded: blinded(2), ..good.clone() };
    let mut forged = good.permits.clone();
    forged[1].signature.0[0] ^= 1;
    for (what, permits) in [
        ("none", vec![]),
        ("one region's", of(good.clone(), &[1])),
        ("one region's twice", of(good.clone(), &[2, 2])),
        ("one of a slot that there is not", of(good.clone(), &[1, 9])),
        ("a forged one", forged),
        ("of another list", op::permits(&good, number + 1, &[1, 2])),
        ("of another attempt", beginning(&case, 4, 1).permits),
        ("of another B", of(other, &[1, 2])),
        ("of another ordinal", of(later, &[1, 2])),
        ("of another generation", of(next, &[1, 2])),
    ] {
        let begin = Command::Begin(Begin { permits, ..good.clone() });
        assert_eq!(case.apply(&begin), no(Refusal::Permits), "{what}");
        assert_eq!(case.account().tries_left(), 1, "{what}");
    }
    assert_eq!(case.apply(&Command::Begin(good.clone())), charged(3));
    // A repetition needs them too. Without them no answer reveals whether B is the right one, and no conflict is counted.
    assert_eq!(case.apply(&Command::Begin(good.clone())), again(3));
    let conflicting = Begin { blinded: blinded(2), ..good.clone() };
    for begin in [good, conflicting.clone()] {
        let without = Begin { permits: of(begin.clone(), &[1]), ..begin };
        assert_eq!(case.apply(&Command::Begin(without)), no(Refusal::Permits));
    }
    assert_eq!(case.account().pending.as_ref().unwrap().conflicts, 0);
    let permits = of(conflicting.clone(), &[1, 2]);
    assert_eq!(case.apply(&Command::Begin(Begin { permits, ..conflicting })), no(Refusal::Conflict));
    assert_eq!(case.account().pending.as_ref().unwrap().conflicts, 1);
}
