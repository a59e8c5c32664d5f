//! Bounds of sizes. An account is one row. The vault reads, writes and caches it for every attempt, and a snapshot consists of rows.

use super::case::Case;
use super::encoding_test::account;
use super::parser_test::{batch, record};
use bkv_core::account::{Account, Live, Pending, Success};
use bkv_core::command::{Command, Store};
use bkv_core::id::{AttemptId, Element, Generation, Hash, PublicKey, Time, WriterId};
use bkv_core::outcome::Outcome;
use bkv_core::record::{AttemptPolicy, KsfParams, Record, SealedShare};
use bkv_core::secret::Secret32;
use bkv_core::writers::{Before, LedgerName, MAX_RETIRED, MAX_WRITERS, Retired, Writer};

/// KE1 ‖ KE2 without the server's signature, in our suite.
const TRANSCRIPT: usize = 96 + 384 - 64;
/// The limits of the documents (`bkv-wire` refuses more): tries, waits, regions.
const MAX_TRIES: u8 = 20;
const MAX_WAITS: usize = 32;
const MAX_REGIONS: usize = 15;

const NOW: Time = Time(1_790_000_000_000);

fn len<T: minicbor::Encode<()>>(value: &T) -> usize {
    minicbor::to_vec(value).unwrap().len()
}

/// A record in a fleet of three regions with the default policy.
fn typical() -> Record {
    let minutes = [0, 0, 1, 10, 60, 360, 1440, 2880, 5760];
    Record {
        generation: Generation(3),
        attempts: AttemptPolicy {
            max: 10,
            lifetime_failures: 100,
            waits_ms: minutes.map(|m| m * 60_000).to_vec(),
            last_try_ms: 86_400_000,
            attempt_ms: 600_000,
        },
        ksf: KsfParams { memory_kib: 64 << 10, passes: 3, lanes: 4 },
        ..record()
    }
}

/// The largest record that any documents allow, with each number in its longest encoding.
fn worst() -> Record {
    Record {
        generation: Generation(u64::MAX - 1),
        era: bkv_core::id::Era(u32::MAX),
        admission: u64::MAX,
        policy: u64::MAX,
        threshold: u8::try_from(MAX_REGIONS / 2 + 1).unwrap(),
        slots: u8::try_from(MAX_REGIONS).unwrap(),
        attempts: AttemptPolicy {
            max: u32::from(MAX_TRIES),
            lifetime_failures: u32::MAX,
            waits_ms: vec![u64::MAX; MAX_WAITS],
            last_try_ms: u64::MAX,
            attempt_ms: u64::MAX,
        },
        commitments: vec![Element([0xff; 32]); MAX_REGIONS / 2 + 1],
        ciphertext: vec![0xff; 256],
        ksf: KsfParams { memory_kib: u32::MAX, passes: u32::MAX, lanes: u32::MAX },
        ..record()
    }
}

/// The design's limit: a record on disk takes at most 1.5 KiB.
#[test]
fn a_typical_row_takes_at_most_one_and_a_half_kibibytes() {
    let record = typical();
    let live = Live { hash: record.hash(), shares: Hash([1; 32]), since: NOW, record };
    let mut row =
        Account { created: NOW, next_allowed: NOW, changed: 1 << 33, live: Some(live), ..account() };
    (row.stored, row.pending, row.ended) = (None, None, None);
    // One device, whose V was not changed lately.
    (row.writers[0].forgotten, row.writers[0].before) = (None, None);
    row.retired = Vec::new();
    row.last_success.as_mut().unwrap().transcript = vec![0xff; TRANSCRIPT];
    let at_rest = len(&row);
    row.pending = account().pending;
    let in_attempt = len(&row);
    let other = Writer { id: WriterId([0x64; 16]), ..account().writers[0].clone() };
    let device = len(&other);
    row.writers.push(other);
    println!(
        "record {}, row {at_rest}, in an attempt {in_attempt}, a further device at most {device}",
        typical().encode().len()
    );
    assert!(at_rest <= 1536, "{at_rest} bytes");
    assert!(in_attempt <= 1664, "{in_attempt} bytes in an attempt");
    assert!(len(&row) <= in_attempt + device, "{} bytes with another device", len(&row));
}

#[test]
fn the_largest_record_that_any_documents_allow_is_within_the_limit() {
    let worst = worst();
    let bytes = worst.encode();
    println!("{} bytes of {}", bytes.len(), Record::MAX_LEN);
    assert!(bytes.len() <= Record::MAX_LEN);
    assert_eq!(Record::decode(&bytes).unwrap(), worst);
}

/// The largest map of an account.
fn writers() -> Vec<Writer> {
    let v = Secret32::new([0xff; 32]);
    let writer = Writer {
        id: WriterId([0xff; 16]),
        ledger: LedgerName { counter: u64::MAX, hash: Hash([0xff; 32]) },
        v: Some(v.clone()),
        before: Some(Before { v, until: Time(u64::MAX) }),
        forgotten: Some(Time(u64::MAX)),
    };
    vec![writer; MAX_WRITERS]
}

#[test]
fn the_largest_account_is_bounded() {
    let mut row = account();
    let (mut live, mut stored) = (row.live.take().unwrap(), row.stored.take().unwrap());
    (live.record, stored.record) = (worst(), worst());
    (live.since, stored.expires, stored.base) = (Time(u64::MAX), Time(u64::MAX), Generation(u64::MAX));
    let far = bkv_core::id::Ordinal(u64::MAX);
    let pending = Pending {
        ordinal: far,
        success_before: far,
        deadline: Time(u64::MAX),
        index: u64::MAX,
        conflicts: u8::MAX,
        ..row.pending.take().unwrap()
    };
    let success =
        Success { ordinal: far, transcript: vec![0xff; TRANSCRIPT], ..row.last_success.take().unwrap() };
    let row = Account {
        generation: Generation(u64::MAX),
        ordinal: far,
        lifetime_failures: u32::MAX,
        next_allowed: Time(u64::MAX),
        created: Time(u64::MAX),
        changed: u64::MAX,
        last_success: Some(success),
        pending: Some(pending),
        live: Some(live),
        stored: Some(stored),
        failed: vec![AttemptId([0xff; 16]); usize::from(MAX_TRIES)],
        writers: writers(),
        retired: vec![
            Retired {
                owner: PublicKey([0xff; 32]),
                writers: writers(),
                until: Time(u64::MAX),
                since: Generation(u64::MAX)
            };
            MAX_RETIRED
        ],
        forgotten: u32::MAX,
        owner_since: Generation(u64::MAX),
        ..row
    };
    println!("{} bytes", len(&row));
    println!("a map {} bytes", len(&writers()));
    assert!(len(&writers()) <= 3072, "{} bytes of a map", len(&writers()));
    assert!(len(&row) <= 4608 + 3 * 3072, "{} bytes", len(&row));
}

/// The list of failed ids is the only part of an account that grows with use. It never has more ids than the budget.
#[test]
fn no_use_of_an_account_makes_it_grow_without_end() {
    let generous =
        AttemptPolicy { max: u32::from(MAX_TRIES), lifetime_failures: 1000, ..super::case::policy() };
    let mut case = Case::registered(&generous);
    let mut largest = 0;
    for round in 0..6_u8 {
        for attempt in 0..MAX_TRIES - 1 {
            case.fail(round * 40 + attempt);
        }
        case.clock = case.clock.max(case.account().next_allowed);
        case.begin(round * 40 + 39, 1);
        assert_eq!(case.finish(round * 40 + 39), Outcome::Done);
        assert!(case.account().failed.len() <= usize::from(MAX_TRIES));
        let now = len(case.account());
        assert!(round < 2 || now <= largest + 8, "{now} after {largest}: a few digits more, no more");
        largest = largest.max(now);
    }
}

/// The largest command that one client can cause.
#[test]
fn the_largest_entry_of_one_client_is_bounded() {
    let Some(Command::Store(store)) = batch().commands.into_iter().nth(2) else { unreachable!() };
    let share = SealedShare { slot: bkv_core::id::Slot(255), enc: vec![0xff; 64], ct: vec![0xff; 96] };
    let store = Store { record: worst(), shares: vec![share; MAX_REGIONS], ..*store };
    println!("{} bytes", len(&store));
    assert!(len(&store) <= 5120, "{} bytes", len(&store));
}
