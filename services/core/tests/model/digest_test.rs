//! The digest of a shard's accounts: whatever the history, it is the digest of the accounts that are there.

use proptest::prelude::*;

use super::encoding_test::account as example;
use super::machine::{Machine, account};
use super::op::{attempts, op};
use super::schedule_test::run;
use bkv_core::account::Account;
use bkv_core::digest::{Digest, RowNumbers};
use bkv_core::id::AccountId;
use std::collections::BTreeMap;

fn whole<'a>(accounts: impl Iterator<Item = (&'a AccountId, &'a Account)>) -> Digest {
    let mut digest = Digest::default();
    for (id, a) in accounts {
        digest.add(&RowNumbers::of(id, a));
    }
    digest
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// S48: each change is taken over row by row, and the result is that of all rows, in any order.
    #[test]
    fn s48_the_digest_of_any_history_is_that_of_its_accounts(
        policy in attempts(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let (mut digest, mut before) = (Digest::default(), BTreeMap::new());
        let mut look = |m: &Machine| {
            before.retain(|id, old| {
                let there = m.memory.0.contains_key(id);
                if !there {
                    digest.remove(&RowNumbers::of(id, old));
                }
                there
            });
            for (id, now) in &m.memory.0 {
                match before.insert(*id, now.clone()) {
                    Some(old) if old == *now => {}
                    old => {
                        if let Some(old) = &old {
                            digest.remove(&RowNumbers::of(id, old));
                        }
                        digest.add(&RowNumbers::of(id, now));
                    }
                }
            }
            assert_eq!(digest, whole(m.memory.0.iter()));
            assert_eq!(digest, whole(m.memory.0.iter().rev()));
            assert_eq!(digest.rows(), u64::try_from(m.memory.0.len()).unwrap());
        };
        run(&policy, &ops, &mut look);
    }
}

/// Any other row, the same row under another id, a row twice: other digests.
#[test]
fn s48_other_rows_have_another_digest() {
    let (anna, bert) = (account(0), account(1));
    let row = example();
    let mut later = row.clone();
    later.next_allowed.0 += 1;
    let of = |rows: &[(AccountId, &Account)]| whole(rows.iter().map(|(id, a)| (id, *a)));
    let sets = [
        of(&[]),
        of(&[(anna, &row)]),
        of(&[(bert, &row)]),
        of(&[(anna, &later)]),
        of(&[(anna, &row), (anna, &row)]),
        of(&[(anna, &row), (bert, &row)]),
        of(&[(anna, &row), (bert, &later)]),
        of(&[(anna, &later), (bert, &row)]),
    ];
    for (i, x) in sets.iter().enumerate() {
        for (j, y) in sets.iter().enumerate() {
            assert_eq!(x == y, i == j, "{i} and {j}");
        }
    }
}

/// The head of the state is part of its digest.
#[test]
fn s48_fleet_and_membership_are_part_of_the_digest() {
    let machine = Machine::new(&super::case::policy());
    let (digest, fleet) = (Digest::default(), machine.fleet());
    let mut other = fleet.clone();
    other.documents.policy.number += 1;
    let of = |shard, fleet, membership: &[&[u8]]| digest.of_state(shard, fleet, membership);
    let all = [
        of(0, fleet, &[b"a", b"b"]),
        of(1, fleet, &[b"a", b"b"]),
        of(0, &other, &[b"a", b"b"]),
        of(0, fleet, &[b"ab", b""]),
        of(0, fleet, &[b"a"]),
    ];
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
}

/// Golden: the next version must reach the same digest.
#[test]
fn the_digest_has_golden_bytes() {
    let machine = Machine::new(&super::case::policy());
    let state = whole([(&account(0), &example())].into_iter()).of_state(7, machine.fleet(), &[b"m"]);
    assert_eq!(state.to_string(), "398c58cb50b80bdcb5e05a95f12ae7b0e6c28af69ff26d54c1998b01d75c5d14");
}
