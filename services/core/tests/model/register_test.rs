//! Registration in its two phases, each rule of a record, and which client may overwrite which record.

use super::case::{Case, WHO, again, charged, no, policy, signed_finish};
use super::fake::{ERA, Fake, LINEAGE, documents, sign, signed_by};
use super::machine::{Memory, account};
use super::op::{self, By, blinded, owner_key};
use bkv_core::account::State;
use bkv_core::bounds::UNCONFIRMED;
use bkv_core::command::{Command, Confirm, Store};
use bkv_core::effect::Effect;
use bkv_core::event::EventKind;
use bkv_core::id::{Element, Generation, Hash, Lineage, Slot};
use bkv_core::outcome::{Outcome, Refusal};
use bkv_core::record::{AttemptPolicy, Record, SealedShare, shares_hash};
use bkv_core::shard::{At, Shard};
use bkv_core::signature::RegionSignature;
use bkv_core::statement::{self, Operation};

fn erased(case: &Case, reg: u8) -> bool {
    let reg_id = bkv_core::id::RegId([reg + 1; 16]);
    case.effects.contains(&Effect::EraseSecrets { account: account(WHO), reg_id })
}

fn confirmation(stored: &Store) -> Confirm {
    let Command::Confirm(c) = op::confirm(stored, 2, 0) else { unreachable!() };
    c
}

/// The acknowledgement that the region at `slot` signs about the stored registration.
fn acknowledgement(stored: &Store, slot: u8, shares: &[SealedShare]) -> RegionSignature {
    let hash = stored.record.hash();
    let statement = statement::acknowledgement(
        &LINEAGE,
        ERA,
        &stored.record.reg_id,
        Slot(slot),
        &hash,
        &shares_hash(shares),
        &op::SUBJECT,
    );
    signed_by(Slot(slot), &statement)
}

#[test]
fn s12_stored_changes_nothing_until_it_is_confirmed() {
    let mut case = Case::registered(&policy());
    case.fail(1);
    let before = case.account().clone();
    let store = case.storing(1, By::Owner);
    assert_eq!(case.store(&store), Outcome::Done);
    assert!(case.effects.iter().any(|e| matches!(e, Effect::KeepSecrets { z, .. } if *z == store.z)));
    assert_eq!(case.events(), [], "no event");
    let now = case.account();
    assert_eq!(
        (&now.live, now.ordinal, now.lifetime_failures),
        (&before.live, before.ordinal, before.lifetime_failures)
    );
    assert_eq!(now.stored.as_ref().unwrap().expires, case.clock.plus(200));
    // The old password still works.
    assert_eq!(case.begin(2, 1), charged(2));
    assert_eq!(case.finish(2), Outcome::Done);
    assert_eq!(case.confirm(2, 0), Outcome::Done);
    assert_eq!((case.events(), erased(&case, 0)), (vec![EventKind::Registered], true));
    let a = case.account();
    assert_eq!((a.generation.0, a.ordinal.0, a.last_success.is_none()), (2, 0, true));
    assert_eq!((a.failed.len(), a.next_allowed, a.finished_seed.is_none()), (0, case.clock, true));
}

/// S12: an attacker who drops replies, so that the client repeats its messages in any order, gains no tries.
#[test]
fn s12_dropped_replies_give_nobody_a_fresh_budget() {
    let mut case = Case::new(&policy());
    let store = case.storing(0, By::Nobody);
    let (storing, confirming) = (Command::Store(Box::new(store.clone())), op::confirm(&store, 2, 0));
    for _ in 0..2 {
        assert_eq!(case.apply(&storing), Outcome::Done);
    }
    assert!(case.effects.is_empty());
    assert_eq!(case.apply(&confirming), Outcome::Done);
    case.fail(1);
    assert_eq!(case.begin(2, 1), charged(2));
    for _ in 0..2 {
        assert_eq!(case.apply(&storing), Outcome::Done);
        assert_eq!(case.apply(&confirming), Outcome::Done);
        assert!(case.effects.is_empty());
    }
    assert_eq!((case.account().tries_left(), case.account().generation.0), (1, 1));
    assert_eq!(case.begin(2, 1), again(2));
    // Nor after the key has ended.
    assert_eq!(case.give_up(2), Outcome::Done);
    case.last_try(3);
    assert_eq!(case.give_up(3), Outcome::Done);
    assert_eq!(case.apply(&confirming), no(Refusal::Destroyed));
    assert_eq!(case.apply(&storing), no(Refusal::Stale));
}

#[test]
fn a_registration_once_stored_never_changes() {
    let mut case = Case::new(&policy());
    let store = case.storing(0, By::Nobody);
    assert_eq!(case.store(&store), Outcome::Done);
    let mut other_record = store.clone();
    other_record.record.ciphertext[0] ^= 1;
    let mut other_shares = store.clone();
    other_shares.shares[2].ct[0] ^= 1;
    for other in [&other_record, &other_shares] {
        assert_eq!(case.apply(&Command::Store(Box::new(other.clone()))), no(Refusal::Conflict));
    }
    assert_eq!(case.confirm(2, 6), no(Refusal::Conflict), "another hash than the stored one's");
    assert_eq!(case.confirm(2, 0), Outcome::Done);
    for other in [other_record, other_shares] {
        assert_eq!(case.apply(&Command::Store(Box::new(other))), no(Refusal::Conflict));
    }
    assert_eq!(case.confirm(2, 6), no(Refusal::Conflict), "another hash than the live one's");
}

/// S13: two devices register at the same time. Only one registration becomes live, and the other's secrets are erased.
#[test]
fn s13_of_two_registrations_on_one_base_one_lives() {
    let mut case = Case::registered(&policy());
    let (one, two) = (case.storing(1, By::Owner), case.storing(2, By::Owner));
    assert_eq!(case.store(&one), Outcome::Done);
    assert_eq!(case.store(&two), Outcome::Done);
    assert_eq!((case.events(), erased(&case, 1)), (vec![EventKind::Dropped], true));
    assert_eq!(case.apply(&op::confirm(&one, 2, 0)), no(Refusal::NoKey));
    assert_eq!(case.confirm(2, 0), Outcome::Done);
    assert_eq!(case.store(&one), no(Refusal::Stale), "its base is over");
    assert_eq!(case.account().live.as_ref().unwrap().record, two.record);
}

/// S13: Confirm compares the base, in case another registration became live in between.
#[test]
fn s13_a_confirmation_for_another_base_is_refused() {
    let mut case = Case::registered(&policy());
    let store = case.storing(1, By::Owner);
    assert_eq!(case.store(&store), Outcome::Done);
    case.machine.memory.0.get_mut(&account(WHO)).unwrap().generation = Generation(2);
    let outcome = case.machine.run(case.clock, &op::confirm(&store, 2, 0)).1.outcome;
    assert_eq!(outcome, no(Refusal::Stale));
}

#[test]
fn s13_attempts_on_the_old_record_end_in_the_same_entry() {
    let mut case = Case::registered(&policy());
    assert_eq!(case.begin(1, 1), charged(1));
    let old = signed_finish(1, 0, 1, 1, 1, blinded(1));
    let Command::Begin(begin) = op::begin(&case.model, WHO, 2, 1, 0, true) else { unreachable!() };
    case.register(1, By::Owner);
    assert_eq!(case.apply(&old), no(Refusal::NoAttempt));
    assert_eq!(case.give_up(1), no(Refusal::NoAttempt));
    assert_eq!(case.apply(&Command::Begin(begin)), no(Refusal::Stale));
    assert_eq!((case.account().tries_left(), case.account().pending.is_none()), (3, true));
}

#[test]
fn s12_stored_and_never_confirmed_expires() {
    let mut case = Case::registered(&policy());
    let store = case.storing(1, By::Owner);
    assert_eq!(case.store(&store), Outcome::Done);
    case.wait(200);
    assert_eq!(case.expire(), no(Refusal::Stale));
    assert_eq!(case.clone().confirm(2, 0), Outcome::Done, "the deadline itself is still in time");
    case.wait(1);
    assert_eq!(case.confirm(2, 0), no(Refusal::Expired), "also before an Expire");
    assert_eq!(case.expire(), Outcome::Done);
    assert_eq!((case.events(), erased(&case, 1)), (vec![EventKind::Dropped], true));
    assert_eq!(case.confirm(2, 0), no(Refusal::NoKey));
    assert_eq!((case.state(), case.account().generation.0), (State::Live, 1));
    assert_eq!(Case::new(&policy()).apply(&op::confirm(&store, 2, 0)), no(Refusal::NoKey));
}

/// S50: a first registration needs no signature, so a rooted leader could invent any number of them. One that expires unconfirmed must leave no row.
#[test]
fn s50_an_expired_first_registration_leaves_no_row() {
    let mut case = Case::new(&policy());
    let store = case.storing(0, By::Nobody);
    assert_eq!(case.store(&store), Outcome::Done);
    assert_eq!(case.machine.shard.unconfirmed, 1);
    case.wait(201);
    assert_eq!(case.expire(), Outcome::Done);
    assert_eq!((case.events(), erased(&case, 0)), (vec![EventKind::Dropped], true));
    assert!(case.machine.account(WHO).is_none());
    assert_eq!(case.machine.shard.unconfirmed, 0);
    assert_eq!(case.expire(), no(Refusal::NoKey));
    case.register(1, By::Nobody);
    assert_eq!(case.machine.shard.unconfirmed, 0, "a confirmed one is not counted");
}

/// S50: a rooted leader can make up accounts without end, so their number is bounded in the state machine. Accounts with a key are not affected.
#[test]
fn s50_unconfirmed_registrations_of_a_shard_are_bounded() {
    let case = Case::new(&policy());
    let store = Command::Store(Box::new(case.storing(0, By::Nobody)));
    let apply = |shard: &mut Shard, store: &Command, memory: &mut Memory| {
        let at = At { shard: 0, index: 9, time: case.clock };
        shard.apply(at, store, memory, &Fake).unwrap().outcome
    };
    let mut shard = case.machine.shard.clone();
    shard.unconfirmed = UNCONFIRMED;
    assert_eq!(apply(&mut shard, &store, &mut Memory::default()), no(Refusal::TooMany));
    shard.unconfirmed -= 1;
    let mut memory = Memory::default();
    assert_eq!(apply(&mut shard, &store, &mut memory), Outcome::Done);
    assert_eq!(shard.unconfirmed, UNCONFIRMED);
    assert_eq!(apply(&mut shard, &store, &mut memory), Outcome::Done, "the same again");
    let mut registered = Case::registered(&policy());
    let change = Command::Store(Box::new(registered.storing(1, By::Owner)));
    let mut shard = registered.machine.shard.clone();
    shard.unconfirmed = UNCONFIRMED;
    assert_eq!(apply(&mut shard, &change, &mut registered.machine.memory), Outcome::Done);
}

/// S12: Confirm needs acknowledgements of t different regions, for exactly this record and these shares, by keys on the list.
#[test]
fn s12_acknowledgements_that_are_not_by_t_regions_confirm_nothing() {
    let mut case = Case::new(&policy());
    let store = case.storing(0, By::Nobody);
    assert_eq!(case.store(&store), Outcome::Done);
    let good = |slot| acknowledgement(&store, slot, &store.shares);
    let mut torn = good(2);
    torn.signature.0[9] ^= 1;
    let mut stranger = good(2);
    stranger.certificate = vec![9; 32];
    let mut unlisted = good(2);
    unlisted.slot = Slot(4);
    let mut as_another = good(1);
    as_another.slot = Slot(2);
    let mut other_shares = store.shares.clone();
    other_shares[2].ct[0] ^= 1;
    let other_record = {
        let mut other = store.clone();
        other.record.ciphertext[0] ^= 1;
        acknowledgement(&other, 2, &store.shares)
    };
    let cases = [
        ("none", vec![]),
        ("fewer than t", vec![good(1)]),
        ("one region twice", vec![good(1), good(1)]),
        ("a bad signature", vec![good(1), torn.clone()]),
        ("more than there are regions", vec![good(1), good(2), good(3), good(3)]),
        ("a key that is not the region's", vec![good(1), stranger]),
        ("a slot that is not on the list", vec![good(1), unlisted]),
        ("one region's word in another's name", vec![good(1), as_another]),
        ("about other shares", vec![good(1), acknowledgement(&store, 2, &other_shares)]),
        ("about another record", vec![good(1), other_record]),
    ];
    for (what, acknowledgements) in cases {
        let c = Confirm { acknowledgements, ..confirmation(&store) };
        assert_eq!(case.apply(&Command::Confirm(c)), no(Refusal::Proof), "{what}");
    }
    // One rooted region can't void those of the others.
    let any_t = Confirm { acknowledgements: vec![torn, good(3), good(1)], ..confirmation(&store) };
    assert_eq!(case.apply(&Command::Confirm(any_t)), Outcome::Done);
}

#[test]
fn s12_only_the_new_records_own_owner_confirms() {
    let mut case = Case::registered(&policy());
    let store = case.storing(1, By::Owner);
    assert_eq!(case.store(&store), Outcome::Done);
    assert_eq!(case.confirm(2, 5), no(Refusal::Owner));
    let hash = store.record.hash();
    let signed = |key, base, hash: &Hash| {
        let statement = statement::confirm(&LINEAGE, ERA, &account(WHO), base, &store.record.reg_id, hash);
        Command::Confirm(Confirm { signature: sign(&key, &statement), ..confirmation(&store) })
    };
    let (old, new) = (owner_key(WHO, 0), owner_key(WHO, 1));
    for (what, c) in [
        ("the old owner", signed(old, Generation(1), &hash)),
        ("for another base", signed(new, Generation(0), &hash)),
        ("for another record", signed(new, Generation(1), &Hash([1; 32]))),
    ] {
        assert_eq!(case.apply(&c), no(Refusal::Owner), "{what}");
    }
    assert_eq!(case.apply(&signed(new, Generation(1), &hash)), Outcome::Done);
}

/// S16: overwriting a live record needs the owner key's signature over exactly this record.
#[test]
fn s16_overwriting_a_live_record_takes_its_owners_signature() {
    let mut case = Case::registered(&policy());
    let mut stale = case.storing(1, By::Owner);
    case.register(2, By::Owner);
    for (by, why) in
        [(By::Nobody, Refusal::Owner), (By::Stranger, Refusal::Owner), (By::Late, Refusal::Expired)]
    {
        let store = case.storing(1, by);
        assert_eq!(case.store(&store), no(why), "{by:?}");
    }
    // The signature is for the generation before.
    stale.record.generation = Generation(3);
    assert_eq!(case.store(&stale), no(Refusal::Owner));
    let mut about_another = case.storing(1, By::Owner);
    about_another.record.ciphertext[0] ^= 1;
    assert_eq!(case.store(&about_another), no(Refusal::Owner));
    let mut to_delete = case.storing(1, By::Owner);
    to_delete.owner =
        Some(op::owner_signature(&case.model, WHO, 1, &Operation::Delete, By::Owner, case.clock));
    assert_eq!(case.store(&to_delete), no(Refusal::Owner));
    let mut expiry_moved = case.storing(1, By::Owner);
    expiry_moved.owner.as_mut().unwrap().expires.0 += 1;
    assert_eq!(case.store(&expiry_moved), no(Refusal::Owner));
    case.register(1, By::Owner);
}

#[test]
fn without_a_live_record_there_is_nothing_to_overwrite() {
    for mut case in [Case::new(&policy()), Case::destroyed(&policy()), Case::deleted(&policy())] {
        let generation = case.machine.account(WHO).map_or(0, |a| a.generation.0);
        case.register(3, By::Nobody);
        let a = case.account();
        assert_eq!((a.state(), a.generation.0, a.tries_left()), (State::Live, generation + 1, 3));
        assert_eq!((a.ended, a.lifetime_failures), (None, 0));
    }
}

/// S15: a new registration sets the lifetime failures to zero, because the record at which they counted guesses is erased. A success does not.
#[test]
fn a_registration_starts_the_lifetime_failures_at_zero() {
    let strict = AttemptPolicy { max: 3, lifetime_failures: 3, waits_ms: vec![], ..policy() };
    // Failures between successes lock the account. A device that has the key unlocks it.
    let mut case = Case::registered(&strict);
    for attempt in [1, 2] {
        case.fail(attempt);
        case.begin(attempt + 100, 1);
        assert_eq!(case.finish(attempt + 100), Outcome::Done);
    }
    case.fail(3);
    assert_eq!((case.state(), case.begin(4, 1)), (State::Locked, no(Refusal::Locked)));
    let theirs = case.storing(1, By::Stranger);
    assert_eq!(case.store(&theirs), no(Refusal::Owner), "no other device unlocks it");
    let store = case.storing(1, By::Owner);
    assert_eq!(case.store(&store), Outcome::Done);
    assert_eq!(
        (case.state(), case.account().lifetime_failures),
        (State::Locked, 3),
        "not before it is confirmed"
    );
    assert_eq!(case.confirm(2, 0), Outcome::Done);
    assert_eq!((case.state(), case.account().lifetime_failures), (State::Live, 0));
    assert_eq!(case.begin(4, 1), charged(1));
    assert_eq!(case.finish(4), Outcome::Done);
    // However often a key was destroyed, a new registration is never locked at its start.
    for reg in 2..6 {
        case.last_try(50);
        assert_eq!(case.give_up(50), Outcome::Done);
        case.register(reg, By::Nobody);
        assert_eq!((case.state(), case.account().lifetime_failures), (State::Live, 0));
    }
}

#[test]
fn every_rule_of_a_record_is_checked_by_every_replica() {
    use Refusal as R;
    type Harm = fn(&mut Store);
    let rules: [(&str, Refusal, Harm); 27] = [
        ("lineage", R::Record, |s| s.record.lineage = Lineage([8; 32])),
        ("era", R::Record, |s| s.record.era.0 += 1),
        ("account", R::Record, |s| s.record.account = account(1)),
        ("a later generation", R::Stale, |s| s.record.generation.0 += 1),
        ("an older generation", R::Stale, |s| s.record.generation.0 -= 1),
        ("admission list", R::Stale, |s| s.record.admission += 1),
        ("an older policy", R::Stale, |s| s.record.policy -= 1),
        ("slots", R::Record, |s| s.record.slots += 1),
        ("threshold", R::Record, |s| s.record.threshold = 1),
        ("threshold and commitments", R::Record, |s| {
            s.record.threshold = 3;
            s.record.commitments.push(Element([3; 32]));
        }),
        ("commitments", R::Record, |s| s.record.commitments.truncate(1)),
        ("a share is missing", R::Record, |s| s.shares.truncate(2)),
        ("a share twice", R::Record, |s| s.shares[1] = s.shares[0].clone()),
        ("shares in another order", R::Record, |s| s.shares.swap(0, 2)),
        ("a share too many", R::Record, |s| s.shares.push(s.shares[2].clone())),
        ("a long enc", R::Record, |s| s.shares[0].enc = vec![0; 65]),
        ("a long share", R::Record, |s| s.shares[0].ct = vec![0; 97]),
        ("upload's length", R::Record, |s| s.record.upload.push(0)),
        ("upload's client key", R::Record, |s| s.record.upload[0] = 0xff),
        ("ciphertext's length", R::Record, |s| s.record.ciphertext = vec![0; 257]),
        ("a larger budget", R::Record, |s| s.record.attempts.max += 1),
        ("shorter waits", R::Record, |s| s.record.attempts.waits_ms.clear()),
        ("KSF below the floor", R::Record, |s| s.record.ksf.memory_kib = 63),
        ("KSF above the ceiling", R::Record, |s| s.record.ksf.passes = 5),
        ("commitments that are no elements", R::Element, |s| s.record.commitments[1] = Element([0; 32])),
        ("the response is not z's", R::Proof, |s| s.response[0] ^= 1),
        ("the server key is not z's", R::Proof, |s| s.record.server.0[0] ^= 1),
    ];
    for (what, why, harm) in rules {
        let mut case = Case::new(&policy());
        let mut store = case.storing(0, By::Nobody);
        harm(&mut store);
        assert_eq!(case.store(&store), no(why), "{what}");
        assert!(case.machine.account(WHO).is_none(), "{what}: something is left");
    }
}

#[test]
fn s07_a_store_that_answers_no_request_stores_nothing() {
    let mut case = Case::new(&policy());
    let mut store = case.storing(0, By::Nobody);
    store.request.clear();
    assert_eq!(case.store(&store), no(Refusal::Proof));
    let mut other_z = case.storing(0, By::Nobody);
    other_z.z = bkv_core::secret::Secret32::new([1; 32]);
    assert_eq!(case.store(&other_z), no(Refusal::Proof));
}

/// A record keeps the policy of its registration. A new policy of the fleet gives no tries back, and a Store made under the old policy is refused.
#[test]
fn s41_a_new_policy_is_of_the_next_registration() {
    let mut case = Case::registered(&policy());
    let draft = case.storing(1, By::Owner);
    let generous = AttemptPolicy { max: 9, ..policy() };
    assert_eq!(case.apply(&Command::Documents(documents(2, &generous))), Outcome::Done);
    assert_eq!(case.account().tries_left(), 3);
    assert_eq!(case.store(&draft), no(Refusal::Stale));
    case.register(1, By::Owner);
    assert_eq!(case.account().tries_left(), 9);
    assert!(case.account().live.as_ref().unwrap().record.encode().len() < Record::MAX_LEN);
}

/// S09: an account lies in one shard. In another the same record would have a second budget.
#[test]
fn s09_an_account_of_another_shard_is_refused() {
    let mut case = Case::registered(&policy());
    let fleet = case.machine.fleet().clone();
    assert!(fleet.holds(&account(WHO)));
    let stored = case.storing(1, By::Owner);
    // Of two shards this one is the first, and holds the even buckets.
    case.machine.shard.fleet.as_mut().unwrap().documents.policy.shards = 2;
    for (number, refused) in
        [(0, false), (1, true), (4094, false), (4095, true), (4096, true), (u16::MAX, true)]
    {
        let mut id = account(WHO);
        id.0[..2].copy_from_slice(&number.to_be_bytes());
        let expire = Command::Expire(bkv_core::command::Expire { account: id });
        let outcome = case.machine.run(case.clock, &expire).1.outcome;
        assert_eq!(outcome == no(Refusal::Elsewhere), refused, "{number}");
    }
    // A route must lead to the account.
    let mut elsewhere = stored;
    elsewhere.route.0[1] ^= 0x20;
    let outcome = case.machine.run(case.clock, &Command::Store(Box::new(elsewhere))).1.outcome;
    assert_eq!(outcome, no(Refusal::Record));
}
