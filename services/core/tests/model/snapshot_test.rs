//! S43: the verdicts of a replica on snapshots, one by one.

use super::case::{Case, WHO, charged, policy};
use super::fake::{Fake, documents};
use super::machine::account;
use super::op::{self, By};
use bkv_core::account::{Account, Cause, Ended, Live, Stored, Success};
use bkv_core::command::Command;
use bkv_core::document::NewDocuments;
use bkv_core::id::{
    Element, Era, FleetId, Generation, Hash, Lineage, Ordinal, PublicKey, RegId, Signature, Time,
};
use bkv_core::outcome::Outcome;
use bkv_core::record::AttemptPolicy;
use bkv_core::secret::Secret32;
use bkv_core::shard::{Fleet, Shard};
use bkv_core::snapshot::{Contradiction as C, judge, judge_documents, judge_head};

const REFUSE: fn(C) -> Result<(), C> = Err;

/// An account with a success at ordinal 2, a failed attempt at 3, an open one at 4, and a writer.
fn scene() -> Case {
    let mut case = Case::registered(&AttemptPolicy { max: 9, ..policy() });
    case.fail(1);
    assert_eq!(case.begin(2, 1), charged(2));
    assert_eq!(case.finish(2), Outcome::Done);
    let set = op::set_ledger(&case.model, case.clock, WHO, 1, 3, 1, 1, By::Owner);
    assert_eq!(case.apply(&Command::SetLedger(set)), Outcome::Done);
    case.fail(3);
    assert_eq!(case.begin(4, 1), charged(4));
    case
}

fn judged(case: &Case, mine: Option<&Account>, theirs: Option<&Account>) -> Result<(), C> {
    judge(case.machine.fleet(), &account(WHO), mine, theirs, &Fake)
}

/// A region that was away while a first registration expired and was begun again must not refuse the snapshot: anybody with a token could keep it out so.
#[test]
fn s48_a_first_registration_that_was_begun_anew_is_no_contradiction() {
    let mut case = Case::new(&policy());
    let store = case.storing(0, By::Nobody);
    assert_eq!(case.store(&store), Outcome::Done);
    let mine = case.account().clone();
    let anew = Account { created: Time(mine.created.0 + 1), ..mine.clone() };
    assert_eq!(judged(&case, Some(&mine), Some(&anew)), Ok(()));
    assert_eq!(judged(&case, Some(&anew), Some(&mine)), Err(C::Record));
    // A registration that was confirmed has one beginning.
    let mine = scene().account().clone();
    let anew = Account { created: Time(mine.created.0 + 1), ..mine.clone() };
    assert_eq!(judged(&case, Some(&mine), Some(&anew)), Err(C::Record));
}

/// The end of another registration of the same generation does not end this replica's key: the other region may have taken a key of a rooted leader's, and deleted
/// it with that key's own signature.
#[test]
fn s43_the_end_of_another_registration_ends_no_key() {
    let case = scene();
    let mine = case.account().clone();
    let own = mine.live.as_ref().unwrap().record.reg_id;
    let ended = |reg_id| Account {
        live: None,
        pending: None,
        finished_seed: None,
        writers: vec![],
        retired: vec![],
        forgotten: 0,
        owner_since: Generation(0),
        ended: Some(Ended { cause: Cause::Deleted, at: case.clock, reg_id }),
        ..mine.clone()
    };
    assert_eq!(judged(&case, Some(&mine), Some(&ended(own))), Ok(()));
    assert_eq!(judged(&case, Some(&mine), Some(&ended(RegId([0xee; 16])))), Err(C::Record));
    assert_eq!(judged(&case, Some(&mine), Some(&Account { ended: None, ..ended(own) })), Err(C::Record));
}

/// A success with the client's genuine signature.
fn genuine(case: &Case, attempt: u8) -> Success {
    let mut proved = case.clone();
    assert_eq!(proved.finish(attempt), Outcome::Done);
    proved.account().last_success.clone().unwrap()
}

/// Makes `success` the newest one, and all other fields consistent with it.
fn claim(t: &mut Account, success: Success) {
    if t.pending.as_ref().is_some_and(|p| p.ordinal <= success.ordinal) {
        t.pending = None;
    }
    if let Some(p) = &mut t.pending {
        p.success_before = success.ordinal;
    }
    t.finished = Some(success.attempt);
    t.last_success = Some(success);
}

fn forged(t: &Account, ordinal: u64) -> Success {
    let p = t.pending.clone().filter(|p| p.ordinal.0 == ordinal);
    Success {
        ordinal: Ordinal(ordinal),
        attempt: p.as_ref().map_or(op::attempt_id(99), |p| p.attempt),
        blinded: p.map_or(Element([1; 32]), |p| p.blinded),
        transcript: vec![1; 288],
        signature: Signature([5; 64]),
    }
}

/// Changes the record and sets its hash accordingly.
fn swap(t: &mut Account, change: impl Fn(&mut Live)) {
    if let Some(live) = &mut t.live {
        change(live);
        live.hash = live.record.hash();
    }
}

type Lie = fn(&mut Account);

#[test]
fn s43_each_contradiction_is_noticed_and_named() {
    let case = scene();
    let mine = case.account();
    let lies: [(&str, C, Lie); 45] = [
        ("route", C::Record, |t| t.route.0[31] ^= 1),
        ("a route to another bucket", C::Inconsistent, |t| t.route.0[0] ^= 1),
        ("created", C::Record, |t| t.created.0 += 1),
        ("owner key", C::Record, |t| swap(t, |l| l.record.owner = PublicKey([9; 32]))),
        ("client key", C::Record, |t| swap(t, |l| l.record.upload[0] ^= 1)),
        ("budget", C::Record, |t| swap(t, |l| l.record.attempts.max += 10)),
        ("ciphertext", C::Record, |t| swap(t, |l| l.record.ciphertext[0] ^= 1)),
        ("shares", C::Record, |t| swap(t, |l| l.shares.0[0] ^= 1)),
        ("since", C::Record, |t| swap(t, |l| l.since.0 += 1)),
        ("a lower ordinal", C::Ordinal, |t| (t.ordinal, t.pending) = (Ordinal(3), None)),
        ("another B", C::Pending, |t| t.pending.as_mut().unwrap().blinded = Element([9; 32])),
        ("another attempt", C::Pending, |t| t.pending.as_mut().unwrap().attempt = op::attempt_id(9)),
        ("another cancel", C::Pending, |t| t.pending.as_mut().unwrap().cancel = Hash([9; 32])),
        ("another seed", C::Pending, |t| t.pending.as_mut().unwrap().seed = Secret32::new([9; 32])),
        ("a later deadline", C::Pending, |t| t.pending.as_mut().unwrap().deadline.0 += 1),
        ("a made-up success", C::Success, |t| claim(t, forged(t, 4))),
        ("a made-up success of what comes", C::Success, |t| {
            (t.ordinal, t.pending) = (Ordinal(5), None);
            claim(t, forged(t, 5));
        }),
        ("a made-up success in the past", C::Success, |t| claim(t, forged(t, 3))),
        ("an older one", C::Success, |t| claim(t, Success { ordinal: Ordinal(1), ..forged(t, 1) })),
        ("none", C::Success, |t| {
            (t.last_success, t.finished) = (None, None);
            t.pending.as_mut().unwrap().success_before = Ordinal(0);
        }),
        ("another seed of the success", C::Success, |t| t.finished_seed = Some(Secret32::new([9; 32]))),
        ("failed ids in another order", C::Failed, |t| t.failed.rotate_left(1)),
        ("the newest one forgotten", C::Failed, |t| t.failed.truncate(1)),
        ("the oldest one forgotten", C::Failed, |t| t.failed = t.failed[1..].to_vec()),
        ("another in its place", C::Failed, |t| t.failed[1] = op::attempt_id(9)),
        ("more than the budget", C::Failed, |t| t.failed.resize(10, op::attempt_id(9))),
        ("no failures", C::LifetimeFailures, |t| t.lifetime_failures = 0),
        ("one failure less", C::LifetimeFailures, |t| t.lifetime_failures -= 1),
        ("a failure more", C::LifetimeFailures, |t| t.lifetime_failures += 1),
        ("no wait", C::NextAllowed, |t| t.next_allowed.0 -= 1),
        ("an older ledger", C::Writers, |t| t.writers[0].ledger.counter = 2),
        ("another ledger", C::Writers, |t| t.writers[0].ledger.hash = Hash([9; 32])),
        ("another V", C::Writers, |t| t.writers[0].v = Some(Secret32::new([9; 32]))),
        ("no V", C::Writers, |t| t.writers[0].v = None),
        ("no writer", C::Writers, |t| t.writers.clear()),
        ("more writers than there can be", C::Inconsistent, |t| {
            t.writers.extend(vec![t.writers[0].clone(); 16]);
        }),
        ("a hash that does not fit", C::Inconsistent, |t| t.live.as_mut().unwrap().hash.0[0] ^= 1),
        ("another account's", C::Inconsistent, |t| swap(t, |l| l.record.account = account(1))),
        ("a generation that does not fit", C::Inconsistent, |t| t.generation.0 += 1),
        ("a success of the future", C::Inconsistent, |t| claim(t, forged(t, 9))),
        ("finished by another", C::Inconsistent, |t| t.finished = None),
        ("open elsewhere", C::Inconsistent, |t| t.pending.as_mut().unwrap().ordinal.0 += 1),
        ("tries as they were not", C::Inconsistent, |t| {
            t.pending.as_mut().unwrap().success_before = Ordinal(1);
        }),
        ("last or not", C::Inconsistent, |t| t.pending.as_mut().unwrap().last = true),
        ("no tries and yet alive", C::Inconsistent, |t| (t.ordinal, t.pending) = (Ordinal(11), None)),
    ];
    for (what, why, lie) in lies {
        let mut theirs = mine.clone();
        lie(&mut theirs);
        assert_eq!(judged(&case, Some(mine), Some(&theirs)), REFUSE(why), "{what}");
    }
    assert_eq!(judged(&case, Some(mine), None), REFUSE(C::Missing));
    assert_eq!(judged(&case, Some(mine), Some(mine)), Ok(()));
}

/// A genuine signature by the client proves nothing for an attempt that this replica has ended.
#[test]
fn s43_a_genuine_success_counts_only_for_the_attempt_that_is_open() {
    let open = scene();
    let mut theirs = open.account().clone();
    claim(&mut theirs, genuine(&open, 4));
    theirs.lifetime_failures -= 1;
    assert_eq!(judged(&open, Some(open.account()), Some(&theirs)), REFUSE(C::Success), "with another's seed");
    theirs.finished_seed = open.account().pending.as_ref().map(|p| p.seed.clone());
    assert_eq!(judged(&open, Some(open.account()), Some(&theirs)), Ok(()));
    let mut failed = open.clone();
    assert_eq!(failed.give_up(4), Outcome::Done);
    assert_eq!(judged(&open, Some(failed.account()), Some(&theirs)), REFUSE(C::Success));
    // One proof must not subtract two failures.
    theirs.lifetime_failures -= 1;
    assert_eq!(judged(&open, Some(open.account()), Some(&theirs)), REFUSE(C::LifetimeFailures));
    // The same when the next attempt is already open.
    let mut later = failed.clone();
    later.clock = later.clock.max(later.account().next_allowed);
    assert_eq!(later.begin(5, 1), charged(5));
    let mut revived = later.account().clone();
    claim(&mut revived, genuine(&open, 4));
    assert_eq!(judged(&open, Some(later.account()), Some(&revived)), REFUSE(C::Success));
    // The attempt is closed on this replica and open in the snapshot.
    let there = open.account();
    assert_eq!(judged(&open, Some(failed.account()), Some(there)), REFUSE(C::Pending));
}

#[test]
fn s43_a_deleted_key_does_not_come_back() {
    let before = scene();
    let mut case = before.clone();
    let delete = op::delete(&case.model, case.clock, WHO, 2, By::Owner);
    assert_eq!(case.apply(&delete), Outcome::Done);
    let gone = case.account();
    assert_eq!(judged(&case, Some(gone), Some(before.account())), REFUSE(C::Revived));
    let lies: [(&str, C, Lie); 4] = [
        ("cause", C::Record, |t| t.ended.as_mut().unwrap().cause = Cause::Exhausted),
        ("nothing ended", C::Record, |t| t.ended = None),
        ("a lower generation", C::Generation, |t| t.generation.0 -= 1),
        ("an attempt at nothing", C::Inconsistent, |t| {
            t.pending = scene().account().pending.clone();
        }),
    ];
    for (what, why, lie) in lies {
        let mut theirs = gone.clone();
        lie(&mut theirs);
        assert_eq!(judged(&case, Some(gone), Some(&theirs)), REFUSE(why), "{what}");
    }
    let mut both = before.account().clone();
    both.ended = gone.ended;
    assert_eq!(judged(&case, Some(before.account()), Some(&both)), REFUSE(C::Inconsistent));
    assert_eq!(judged(&case, Some(before.account()), Some(gone)), Ok(()), "an end");
}

#[test]
fn s43_a_new_generation_and_a_planted_registration_are_asked_about() {
    let mut case = scene();
    let before = case.account().clone();
    let store = case.storing(1, By::Owner);
    assert_eq!(case.store(&store), Outcome::Done);
    let stored = case.account().clone();
    assert_eq!(judged(&case, Some(&before), Some(&stored)), Ok(()));
    assert_eq!(judged(&case, Some(&stored), Some(&stored)), Ok(()));
    assert_eq!(judged(&case, Some(&stored), Some(&before)), Ok(()), "it may have expired");
    let change = |what: fn(&mut Stored)| {
        let mut t = stored.clone();
        let s = t.stored.as_mut().unwrap();
        what(s);
        s.hash = s.record.hash();
        judged(&case, Some(&stored), Some(&t))
    };
    assert_eq!(change(|s| s.record.owner = PublicKey([9; 32])), REFUSE(C::Record), "under the same name");
    assert_eq!(change(|s| s.shares = Hash([9; 32])), REFUSE(C::Record));
    assert_eq!(change(|s| s.record.reg_id.0[0] ^= 1), Ok(()), "under another");
    assert_eq!(change(|s| s.base = Generation(0)), REFUSE(C::Inconsistent));
    assert_eq!(change(|s| s.record.generation.0 += 1), REFUSE(C::Inconsistent));
    assert_eq!(case.confirm(2, 0), Outcome::Done);
    assert_eq!(judged(&case, Some(&stored), Some(case.account())), Ok(()));
    assert_eq!(judged(&case, Some(case.account()), Some(&stored)), REFUSE(C::Generation));
    // Without a live record every client with the account's token may register.
    let mut gone = Case::deleted(&policy());
    let before = gone.account().clone();
    let store = gone.storing(1, By::Nobody);
    assert_eq!(gone.store(&store), Outcome::Done);
    assert_eq!(judged(&gone, Some(&before), Some(gone.account())), Ok(()));
}

/// A replica that does not have an account still refuses an impossible one.
#[test]
fn s43_an_unknown_account_must_be_possible_and_its_success_proved() {
    let case = scene();
    assert_eq!(judged(&case, None, None), Ok(()));
    assert_eq!(judged(&case, None, Some(case.account())), Ok(()));
    let lies: [(C, Lie); 5] = [
        (C::Success, |t| t.last_success.as_mut().unwrap().signature.0[0] ^= 1),
        (C::Success, |t| claim(t, forged(t, 4))),
        (C::Inconsistent, |t| t.finished = None),
        (C::LifetimeFailures, |t| t.lifetime_failures = 1), // two have failed since the success
        (C::LifetimeFailures, |t| t.lifetime_failures = 5), // of four
    ];
    for (why, lie) in lies {
        let mut theirs = case.account().clone();
        lie(&mut theirs);
        assert_eq!(judged(&case, None, Some(&theirs)), REFUSE(why));
    }
}

#[test]
fn s43_the_head_never_goes_back() {
    let mine = scene().machine.shard;
    let judged = |change: &dyn Fn(&mut Shard)| {
        let mut theirs = mine.clone();
        change(&mut theirs);
        judge_head(0, &mine, &theirs)
    };
    let fleet = |change: fn(&mut Fleet)| judged(&|t| change(t.fleet.as_mut().unwrap()));
    assert_eq!(judged(&|t| t.time.0 += 1), Ok(()));
    assert_eq!(judge_head(0, &Shard::default(), &mine), Ok(()));
    assert_eq!(judged(&|t| t.time.0 -= 1), REFUSE(C::Head));
    assert_eq!(judged(&|t| t.fleet = None), REFUSE(C::Head));
    let lies: [fn(&mut Fleet); 9] = [
        |t| t.fleet = FleetId([9; 16]),
        |t| t.lineage = Lineage([9; 32]),
        |t| t.era = Era(9),
        |t| t.shard += 1,
        |t| t.index = Secret32::new([9; 32]),
        |t| t.documents.admission.number -= 1,
        |t| t.documents.policy.number -= 1,
        |t| t.documents.admission.threshold = 1,
        |t| t.documents.policy.attempts.max = 99,
    ];
    for (i, lie) in lies.into_iter().enumerate() {
        assert_eq!(fleet(lie), REFUSE(C::Head), "{i}");
    }
    assert_eq!(fleet(|t| t.documents.admission.number += 1), Ok(()));
    assert_eq!(fleet(|t| t.documents.policy.number += 1), Ok(()));
}

#[test]
fn s43_documents_are_read_again_from_what_the_root_signed() {
    let honest = scene().machine.fleet().clone();
    assert_eq!(judge_documents(&honest, &Fake), Ok(()));
    let lies: [fn(&mut Fleet); 5] = [
        |t| t.documents.admission.members[0].identity = vec![9; 91],
        |t| t.documents.policy.attempts.max = 99,
        |t| t.documents.admission_signed.truncate(9),
        |t| t.lineage = Lineage([9; 32]),
        |t| {
            let NewDocuments { admission, .. } = documents(7, &policy());
            t.documents.admission_signed = admission;
        },
    ];
    for lie in lies {
        let mut theirs = honest.clone();
        lie(&mut theirs);
        assert_eq!(judge_documents(&theirs, &Fake), REFUSE(C::Documents));
    }
}
