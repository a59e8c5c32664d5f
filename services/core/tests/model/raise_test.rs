//! S52: the version of the state, and what raises it.

use bkv_core::batch::Batch;
use bkv_core::command::{Command, Expire, Raise, VERSION};
use bkv_core::id::{Slot, Time};
use bkv_core::outcome::{Outcome, Refusal};
use bkv_core::statement;

use super::case::policy;
use super::fake::{END, ERA, LINEAGE, signed_by};
use super::machine::{Machine, account};

/// A raise that the regions at these slots have signed.
fn raise(version: u32, slots: &[u8]) -> Raise {
    let signed = |s: &u8| signed_by(Slot(*s), &statement::applies(&LINEAGE, ERA, Slot(*s), version));
    Raise { version, signatures: slots.iter().map(signed).collect() }
}

#[test]
fn s52_a_version_is_raised_by_one_and_by_all_regions_only() {
    let mut m = Machine::new(&policy());
    let next = VERSION + 1;
    let mut of_another_version = raise(next, &[1, 2, 3]);
    of_another_version.signatures[2] = raise(next + 1, &[3]).signatures[0].clone();
    for (what, raise, at) in [
        ("no signature", raise(next, &[]), Time(2)),
        ("one region is missing", raise(next, &[1, 2]), Time(2)),
        ("one region twice", raise(next, &[1, 2, 2]), Time(2)),
        ("more signatures than regions", raise(next, &[1, 2, 3, 3]), Time(2)),
        ("a region that is not on the list", raise(next, &[1, 2, 4]), Time(2)),
        ("a signature for another version", of_another_version, Time(2)),
        ("two versions at once", raise(next + 1, &[1, 2, 3]), Time(2)),
        ("an older version", raise(VERSION - 1, &[1, 2, 3]), Time(2)),
    ] {
        let outcome = m.run(at, &Command::Raise(raise)).1.outcome;
        assert_eq!(
            (outcome, m.shard.version()),
            (Outcome::Refused(Refusal::Version), Some(VERSION)),
            "{what}"
        );
    }
    let good = Command::Raise(raise(next, &[3, 1, 2]));
    for _ in 0..2 {
        assert_eq!((m.run(Time(3), &good).1.outcome, m.shard.version()), (Outcome::Done, Some(next)));
    }
    let late = Command::Raise(raise(next + 1, &[1, 2, 3]));
    let outcome = m.run(Time(END.0 + 1), &late).1.outcome;
    assert_eq!(outcome, Outcome::Refused(Refusal::Version), "the certificates have expired");
}

#[test]
fn s52_an_entry_of_a_version_that_is_not_in_force_changes_nothing() {
    let m = Machine::new(&policy());
    let expire = || Command::Expire(Expire { account: account(1) });
    let raise = || Command::Raise(raise(VERSION + 1, &[1, 2, 3]));
    let refuses = |version, commands| m.shard.refuses(&Batch { version, time: Time(1), commands });
    assert_eq!(refuses(VERSION, vec![expire(), expire()]), None);
    assert_eq!(refuses(VERSION, vec![raise()]), None);
    let no = Some(Refusal::Version);
    for version in [VERSION - 1, VERSION + 1] {
        assert_eq!(refuses(version, vec![expire()]), no);
    }
    assert_eq!(refuses(VERSION, vec![raise(), expire()]), no, "a raise is alone in its entry");
    assert_eq!(refuses(VERSION, vec![raise(), raise()]), no);
}
