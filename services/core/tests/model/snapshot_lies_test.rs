//! S43 at random, the second line under the certificate: a replica never refuses an honest later state, and never takes a lie that goes back.

use proptest::prelude::*;

use super::fake::Fake;
use super::machine::{Machine, account};
use super::op::{attempt_id, attempts, op};
use super::schedule_test::run;
use bkv_core::account::{Account, Live, Success};
use bkv_core::id::{Element, Hash, Ordinal, PublicKey, Signature, Time};
use bkv_core::secret::Secret32;
use bkv_core::shard::Fleet;
use bkv_core::snapshot::judge;
use bkv_core::writers::Writer;

/// A change that a rooted leader makes to an honest account. Each one is a lie, whatever else the leader changes.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Ordinal(u64),
    Success(u64),
    NoSuccess,
    Lifetime(u32),
    NextAllowed(u64),
    Route,
    Created,
    Owner,
    ClientKey,
    Budget(u32),
    Waits,
    Ciphertext,
    Commitment,
    Threshold,
    Shares,
    Attempt,
    Blinded,
    Cancel,
    Seed,
    Deadline(u64),
    OlderLedger,
    OtherLedger,
    Forgotten,
    Revived,
}

fn lie() -> impl Strategy<Value = Lie> {
    prop_oneof![
        any::<u64>().prop_map(Lie::Ordinal),
        any::<u64>().prop_map(Lie::Success),
        Just(Lie::NoSuccess),
        any::<u32>().prop_map(Lie::Lifetime),
        any::<u64>().prop_map(Lie::NextAllowed),
        Just(Lie::Route),
        Just(Lie::Created),
        Just(Lie::Owner),
        Just(Lie::ClientKey),
        (1u32..1000).prop_map(Lie::Budget),
        Just(Lie::Waits),
        Just(Lie::Ciphertext),
        Just(Lie::Commitment),
        Just(Lie::Threshold),
        Just(Lie::Shares),
        Just(Lie::Attempt),
        Just(Lie::Blinded),
        Just(Lie::Cancel),
        Just(Lie::Seed),
        (1u64..1000).prop_map(Lie::Deadline),
        Just(Lie::OlderLedger),
        Just(Lie::OtherLedger),
        Just(Lie::Forgotten),
        Just(Lie::Revived),
    ]
}

/// Makes the change in `t`, which otherwise continues `m`. Returns false if the account has no such field to change.
fn apply(lie: Lie, m: &Account, t: &mut Account, once_live: Option<&Live>) -> bool {
    let known = m.success_ordinal();
    let record = |t: &mut Account, change: &dyn Fn(&mut Live)| {
        let Some(live) = t.live.as_mut() else { return false };
        change(live);
        live.hash = live.record.hash();
        true
    };
    match lie {
        // Make all other fields consistent with the lie, as an attacker would.
        Lie::Ordinal(n) if m.ordinal.0 > 0 => {
            t.ordinal = Ordinal(n % m.ordinal.0);
            t.pending = None;
            if t.success_ordinal() > t.ordinal {
                (t.last_success, t.finished) = (None, None);
            }
            true
        }
        Lie::Success(n) if t.live.is_some() && t.ordinal > known => {
            let ordinal = Ordinal(known.0 + 1 + n % (t.ordinal.0 - known.0));
            let open = t.pending.clone().filter(|p| p.ordinal == ordinal);
            let success = Success {
                ordinal,
                attempt: open.as_ref().map_or(attempt_id(77), |p| p.attempt),
                blinded: open.as_ref().map_or(Element([1; 32]), |p| p.blinded),
                transcript: vec![1; 288],
                signature: Signature([6; 64]),
            };
            t.pending = t.pending.take().filter(|p| p.ordinal > ordinal);
            if let Some(p) = &mut t.pending {
                p.success_before = ordinal;
            }
            t.lifetime_failures = t.lifetime_failures.saturating_sub(1);
            (t.finished, t.last_success) = (Some(success.attempt), Some(success));
            true
        }
        Lie::NoSuccess if known.0 > 0 => {
            (t.last_success, t.finished) = (None, None);
            if let Some(p) = &mut t.pending {
                p.success_before = Ordinal(0);
            }
            true
        }
        // The failure of the open attempt may be subtracted by its success.
        Lie::Lifetime(n) if m.lifetime_failures > 1 => {
            t.lifetime_failures = n % (m.lifetime_failures - 1);
            true
        }
        Lie::NextAllowed(n) if m.next_allowed.0 > 0 && t.success_ordinal() == known => {
            t.next_allowed = Time(n % m.next_allowed.0);
            true
        }
        Lie::Route => {
            t.route.0[31] = 0xee;
            true
        }
        Lie::Created => {
            t.created.0 += 1;
            true
        }
        Lie::Owner => record(t, &|l| l.record.owner = PublicKey([9; 32])),
        Lie::ClientKey => record(t, &|l| l.record.upload[31] = 9),
        Lie::Budget(more) => record(t, &|l| l.record.attempts.max += more),
        Lie::Waits => record(t, &|l| l.record.attempts.waits_ms = vec![7; 7]),
        Lie::Ciphertext => record(t, &|l| l.record.ciphertext = vec![9; 9]),
        Lie::Commitment => record(t, &|l| l.record.commitments[0] = Element([9; 32])),
        Lie::Threshold => record(t, &|l| l.record.threshold = 1),
        Lie::Shares => record(t, &|l| l.shares = Hash([9; 32])),
        Lie::Attempt | Lie::Blinded | Lie::Cancel | Lie::Seed | Lie::Deadline(_) => {
            let (Some(known), Some(p)) = (&m.pending, &mut t.pending) else { return false };
            match lie {
                Lie::Attempt => p.attempt = attempt_id(77),
                Lie::Blinded => p.blinded = Element([9; 32]),
                Lie::Cancel => p.cancel = Hash([9; 32]),
                Lie::Seed => p.seed = Secret32::new([9; 32]),
                Lie::Deadline(more) => p.deadline.0 += more,
                _ => {}
            }
            known.ordinal == p.ordinal
        }
        Lie::OlderLedger if t.live.is_some() && t.forgotten == m.forgotten => {
            t.writers.retain(|w| m.writers.iter().all(|known| known.id != w.id));
            !m.writers.is_empty()
        }
        Lie::OtherLedger if t.live.is_some() && t.forgotten == m.forgotten => {
            let same = |w: &&mut Writer| m.writers.iter().any(|k| (k.id, k.ledger) == (w.id, w.ledger));
            let Some(other) = t.writers.iter_mut().find(same) else { return false };
            other.ledger.hash = Hash([0xee; 32]);
            true
        }
        // Not an id that the account dropped because of the budget.
        Lie::Forgotten => match m.failed.last() {
            Some(newest) if t.failed.contains(newest) => {
                t.failed.retain(|id| id != newest);
                true
            }
            _ => false,
        },
        Lie::Revived if m.live.is_none() && m.generation == t.generation => match once_live {
            Some(live) if live.record.generation == m.generation => {
                (t.live, t.ended) = (Some(live.clone()), None);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// The first account after each entry of a schedule.
fn history(policy: &bkv_core::record::AttemptPolicy, ops: &[super::op::Op]) -> (Fleet, Vec<Account>) {
    let (mut seen, mut fleet) = (Vec::new(), None);
    run(policy, ops, |m: &Machine| {
        seen.extend(m.account(0).cloned());
        fleet = Some(m.fleet().clone());
    });
    (fleet.unwrap(), seen)
}

/// True if a leader used one reg_id for two registrations. The replica halts then, although neither registration contradicts the other.
fn same_name(m: &Account, t: &Account) -> bool {
    matches!((&m.stored, &t.stored), (Some(a), Some(b)) if a.record.reg_id == b.record.reg_id && a != b)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn s43_an_honest_continuation_is_never_refused(
        policy in attempts(),
        ops in prop::collection::vec(op(), 1..100),
        pairs in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 60),
    ) {
        let (fleet, seen) = history(&policy, &ops);
        for (i, j) in pairs {
            let (i, j) = (i.index(seen.len()), j.index(seen.len()));
            let (m, t) = (&seen[i.min(j)], &seen[i.max(j)]);
            prop_assert_eq!(judge(&fleet, &account(0), None, Some(t), &Fake), Ok(()));
            let verdict = judge(&fleet, &account(0), Some(m), Some(t), &Fake);
            prop_assert!(verdict.is_ok() || same_name(m, t), "{verdict:?} for {t:?} after {m:?}");
            if m == t {
                prop_assert_eq!(verdict, Ok(()));
            }
        }
    }

    #[test]
    fn s43_no_lie_about_an_honest_history_is_installed(
        policy in attempts(),
        ops in prop::collection::vec(op(), 1..100),
        snapshots in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop::collection::vec(lie(), 1..4)), 60),
    ) {
        let (fleet, seen) = history(&policy, &ops);
        for (i, j, lies) in snapshots {
            let (i, j) = (i.index(seen.len()), j.index(seen.len()));
            let (m, honest) = (&seen[i.min(j)], &seen[i.max(j)]);
            if m.generation != honest.generation || (m.live.is_some() && honest.live.is_none()) {
                continue; // only the certificate can tell
            }
            let mut t = honest.clone();
            let once_live = seen[..i.max(j)].iter().rev().find_map(|a| a.live.as_ref());
            let mut any = false;
            for lie in &lies {
                any |= apply(*lie, m, &mut t, once_live);
            }
            // Begun anew after an unconfirmed registration expired: there is nothing to compare with.
            let anew = m.is_unconfirmed() && t.created > m.created;
            if any && !anew {
                let verdict = judge(&fleet, &account(0), Some(m), Some(&t), &Fake);
                prop_assert_ne!(verdict, Ok(()), "{:?}: {:?} after {:?}", lies, t, m);
            }
        }
    }
}

/// The schedules above must reach every kind of lie.
#[test]
fn the_schedules_reach_every_kind_of_lie() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut applied = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..150 {
        let policy = attempts().new_tree(&mut runner).unwrap().current();
        let ops = prop::collection::vec(op(), 80).new_tree(&mut runner).unwrap().current();
        let (_, seen) = history(&policy, &ops);
        for pair in seen.windows(2).filter(|p| p[0].generation == p[1].generation) {
            let lie = lie().new_tree(&mut runner).unwrap().current();
            let once_live = seen.iter().rev().find_map(|a| a.live.as_ref());
            if apply(lie, &pair[0], &mut pair[1].clone(), once_live) {
                let name = format!("{lie:?}").split('(').next().unwrap_or_default().to_owned();
                *applied.entry(name).or_default() += 1;
            }
        }
    }
    assert_eq!(applied.len(), 24, "{applied:?}");
}
