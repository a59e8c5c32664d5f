//! Certificates: t distinct slots of the list, none of them the receiver, none that signed twice.

use super::case::policy;
use super::fake::{ERA, Fake, LINEAGE, boot_key, sign};
use super::machine::Machine;
use bkv_core::checkpoint::{
    Certificate, Checkpoint, Claims, Lists, Standing, Uncertified, is_checkpoint, next_step,
};
use bkv_core::document::{Admission, Member};
use bkv_core::id::{Hash, NodeId, Slot, Time};
use bkv_core::signature::RegionSignature;
use bkv_core::statement;

fn list() -> Admission {
    Machine::new(&policy()).fleet().documents.admission.clone()
}

fn checkpoint(digest: u8) -> Checkpoint {
    Checkpoint {
        lineage: LINEAGE,
        era: ERA,
        shard: 3,
        term: 5,
        leader: NodeId(11),
        index: 4096,
        chain: Hash([1; 32]),
        list: 1,
        time: Time(60_000),
        rows: 9,
        digest: Hash([digest; 32]),
        version: 12,
    }
}

fn signed(c: &Checkpoint, slot: u8) -> RegionSignature {
    let key = boot_key(&list().member(Slot(slot)).map_or(vec![slot], |m| m.identity.clone()));
    let signature = sign(&key, &statement::checkpoint(c, Slot(slot)));
    RegionSignature { slot: Slot(slot), certificate: key.0.to_vec(), signature }
}

fn certificate(c: &Checkpoint, slots: &[u8]) -> Certificate {
    Certificate { checkpoint: c.clone(), signatures: slots.iter().map(|s| signed(c, *s)).collect() }
}

#[test]
fn s48_t_distinct_slots_are_needed_and_the_receiver_is_none_of_them() {
    let (c, list) = (checkpoint(1), list());
    let check = |slots: &[u8], me: Option<u8>| {
        certificate(&c, slots).check(Lists::new(&list, &list), me.map(Slot), &Fake)
    };
    assert_eq!(check(&[1, 2], Some(3)), Ok(()));
    assert_eq!(check(&[1, 2, 3], Some(3)), Ok(()));
    assert_eq!(check(&[1, 2], None), Ok(()));
    let few = |n| Err(Uncertified::TooFew(n, 2));
    assert_eq!(check(&[1, 3], Some(3)), few(1));
    assert_eq!(check(&[1, 1], Some(3)), few(1));
    assert_eq!(check(&[1, 4], Some(3)), few(1));
    assert_eq!(check(&[], Some(3)), few(0));
}

#[test]
fn s48_a_signature_is_on_one_checkpoint_of_one_list_and_one_slot() {
    let (c, list) = (checkpoint(1), list());
    let has_signed = |c: &Checkpoint, s: &RegionSignature| Lists::new(&list, &list).has_signed(c, s, &Fake);
    assert!(has_signed(&c, &signed(&c, 2)));
    let changes: [fn(&mut Checkpoint); 11] = [
        |c| c.lineage.0[0] ^= 1,
        |c| c.era.0 += 1,
        |c| c.shard += 1,
        |c| c.term += 1,
        |c| c.leader.0 += 1,
        |c| c.index += 1,
        |c| c.chain.0[0] ^= 1,
        |c| c.list += 1,
        |c| c.time.0 += 1,
        |c| c.rows += 1,
        |c| c.digest.0[0] ^= 1,
    ];
    for change in changes {
        let mut other = c.clone();
        change(&mut other);
        assert!(!has_signed(&other, &signed(&c, 2)), "{other:?}");
    }
    let mut another = signed(&c, 2);
    another.slot = Slot(1);
    assert!(!has_signed(&c, &another));
    let mut newer = list.clone();
    newer.number = 2;
    let under_newer = certificate(&c, &[1, 2]).check(Lists::new(&newer, &newer), None, &Fake);
    assert_eq!(under_newer, Err(Uncertified::List(1, 2)));
}

/// A list replaces an identity because an attacker may have it. A vault that obeys that list counts it no more, also on a checkpoint under the older list.
#[test]
fn s48_a_replaced_identity_signs_for_nobody() {
    let (c, list) = (checkpoint(1), list());
    let check = |slots: &[u8], obeyed: &Admission| {
        certificate(&c, slots).check(Lists::new(&list, obeyed), Some(Slot(3)), &Fake)
    };
    let newer = |change: fn(&mut Member)| {
        let mut newer = Admission { number: 2, ..list.clone() };
        newer.members[0].region = "renamed".into();
        newer.members[0].delivery = vec![7];
        change(&mut newer.members[1]);
        newer
    };
    assert_eq!(check(&[1, 2], &newer(|_| {})), Ok(()), "other fields of a member may change");
    let replaced = newer(|m| m.identity[0] ^= 1);
    assert_eq!(check(&[1, 2], &replaced), Err(Uncertified::TooFew(1, 2)));
    assert_eq!(check(&[1, 2], &newer(|m| m.node.0 += 100)), Err(Uncertified::TooFew(1, 2)));
    assert_eq!(check(&[1, 2], &newer(|m| m.slot.0 = 9)), Err(Uncertified::TooFew(1, 2)));
    // An older list than that of the checkpoint decides nothing: the checkpoint's own list is signed by the root, too.
    assert_eq!(check(&[1, 2], &Admission { number: 0, ..replaced }), Ok(()));
}

fn claims(of: &[(u8, u8)]) -> (Claims, usize) {
    let (mut claims, mut liars) = (Claims::default(), 0);
    for (slot, digest) in of {
        let c = checkpoint(*digest);
        liars += usize::from(claims.add(&c, &signed(&c, *slot)).is_err());
    }
    (claims, liars)
}

#[test]
fn s48_t_others_contradict_and_one_alone_does_not() {
    let standing =
        |of: &[(u8, u8)]| claims(of).0.standing(&checkpoint(1), Some(Slot(1)), Lists::new(&list(), &list()));
    assert_eq!(standing(&[]), Standing::Waiting);
    assert_eq!(standing(&[(1, 1)]), Standing::Waiting);
    assert_eq!(standing(&[(1, 1), (2, 7)]), Standing::Waiting);
    assert_eq!(standing(&[(1, 1), (2, 7), (3, 8)]), Standing::Split);
    assert_eq!(standing(&[(1, 1), (2, 7), (3, 7)]), Standing::Contradicted);
    let certified = certificate(&checkpoint(1), &[1, 3]);
    assert_eq!(standing(&[(1, 1), (2, 7), (3, 1)]), Standing::Certified(certified));
    // The same signature again is no contradiction.
    assert_eq!(
        standing(&[(1, 1), (2, 1), (2, 1)]),
        Standing::Certified(certificate(&checkpoint(1), &[1, 2]))
    );
}

/// A signature that was taken before a newer list replaced its identity neither certifies nor contradicts afterwards.
#[test]
fn s48_a_signature_of_an_identity_replaced_since_counts_no_more() {
    let list = list();
    let mut replaced = Admission { number: 2, ..list.clone() };
    replaced.members[1].identity[0] ^= 1;
    let standing =
        |of: &[(u8, u8)]| claims(of).0.standing(&checkpoint(1), Some(Slot(1)), Lists::new(&list, &replaced));
    assert_eq!(standing(&[(1, 1), (2, 1)]), Standing::Waiting);
    assert_eq!(standing(&[(1, 1), (2, 7)]), Standing::Waiting);
    assert_eq!(standing(&[(1, 1), (2, 7), (3, 7)]), Standing::Split, "one that counts is no t");
    let certified = certificate(&checkpoint(1), &[1, 3]);
    assert_eq!(
        standing(&[(1, 1), (2, 1), (3, 1)]),
        Standing::Certified(certified),
        "without the replaced one"
    );
}

/// A slot that signs two digests counts for neither, and both signatures are the proof.
#[test]
fn s48_a_slot_with_two_digests_counts_for_none() {
    let (claims, liars) = claims(&[(1, 1), (2, 7), (2, 1), (2, 1)]);
    assert_eq!(liars, 1);
    assert_eq!(
        claims.standing(&checkpoint(1), Some(Slot(1)), Lists::new(&list(), &list())),
        Standing::Waiting
    );
    let mut claims = Claims::default();
    let (one, other) = (checkpoint(1), checkpoint(7));
    claims.add(&one, &signed(&one, 2)).unwrap();
    let liar = claims.add(&other, &signed(&other, 2)).unwrap_err();
    assert_eq!((liar.slot, liar.first.0, liar.second.0), (Slot(2), one, other));
}

#[test]
fn checkpoints_are_new_minutes_multiples_and_batches_without_commands() {
    let place = |index, before, now, empty| is_checkpoint(index, Time(before), Time(now), empty);
    assert!(place(5, 59_999, 60_000, false));
    assert!(!place(5, 60_000, 119_999, false));
    assert!(place(8192, 60_000, 60_000, false));
    assert!(place(5, 64_999, 65_000, true));
    assert!(!place(5, 64_999, 65_000, false));
    assert_eq!(next_step(Time(64_999)), Time(65_000));
    assert_eq!(next_step(Time(65_000)), Time(70_000));
}

/// A rooted leader can commit any number of batches without commands. Entry time alone makes checkpoints of them.
#[test]
fn s48_a_flood_of_batches_without_commands_makes_few_checkpoints() {
    let (mut time, mut places) = (Time(60_000), 0);
    for index in 1..=4000 {
        let now = Time(60_000 + index * 5);
        places += u32::from(is_checkpoint(index, time, now, true));
        time = now;
    }
    assert_eq!(places, 4, "20 seconds of entry time");
}
