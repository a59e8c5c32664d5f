//! The exact bytes of the formats. The next version must read the bytes on disks, in logs and under signatures as this one does. A developer who
//! changes a format on purpose changes its golden line and writes a decision record on how the old bytes are read.
//!
//! Golden bytes are hex; `ab*32` stands for 32 times `ab`. A test that fails prints the new line.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};

use super::golden::{STATEMENTS, STORED};
use super::parser_test::{batch, record};
use bkv_core::account::{Account, Cause, Ended, Live, Pending, State, Stored, Success};
use bkv_core::checkpoint::{Certificate, Checkpoint};
use bkv_core::command::{Begin, Command};
use bkv_core::event::{Event, EventKind};
use bkv_core::hash::{chain, entry_content, framed};
use bkv_core::id::{
    AccountId, AttemptId, Element, Era, Generation, Hash, Lineage, NodeId, OperationId, Ordinal, PublicKey,
    RegId, Right, Route, Signature, Slot, Time, WriterId,
};
use bkv_core::join::Ballot;
use bkv_core::record::{KsfParams, Record, RecordError, SealedShare, shares_hash};
use bkv_core::secret::Secret32;
use bkv_core::signature::RegionSignature;
use bkv_core::statement::{self as s, Attempt, Attested, Operation, Owned};
use bkv_core::writers::{AttestedRetired, Before, LedgerName, Naming, Retired, Writer, attested, v_hash};

const LINEAGE: Lineage = Lineage([0xa1; 32]);
const ACCOUNT: AccountId = AccountId([0xa2; 32]);
const RECORD: Hash = Hash([0xa3; 32]);
const SUBJECT: Hash = Hash([0xa5; 32]);
const LEDGER: LedgerName = LedgerName { counter: 7, hash: Hash([0xa4; 32]) };

/// Hex, with runs of four or more equal bytes as `xx*n`.
fn shown(bytes: &[u8]) -> String {
    let mut out = String::new();
    for run in bytes.chunk_by(|a, b| a == b) {
        let byte = format!("{:02x}", run[0]);
        if run.len() < 4 {
            out += &byte.repeat(run.len());
        } else {
            out = format!("{} {byte}*{} ", out.trim_end(), run.len());
        }
    }
    out.trim().to_owned()
}

/// An account in which every field has a value.
pub(super) fn account() -> Account {
    let record = record();
    let (hash, shares) = (record.hash(), Hash([0x51; 32]));
    let mut next = record.clone();
    next.generation.0 += 1;
    next.reg_id = RegId([0x52; 16]);
    Account {
        route: Route([0x41; 32]),
        generation: record.generation,
        ordinal: Ordinal(4),
        last_success: Some(Success {
            ordinal: Ordinal(3),
            attempt: AttemptId([0x42; 16]),
            blinded: Element([0x43; 32]),
            transcript: vec![0x44; 416],
            signature: Signature([0x45; 64]),
        }),
        lifetime_failures: 2,
        pending: Some(Pending {
            attempt: AttemptId([0x46; 16]),
            ordinal: Ordinal(4),
            blinded: Element([0x47; 32]),
            cancel: Hash([0x48; 32]),
            seed: Secret32::new([0x49; 32]),
            deadline: Time(1_700_000_000_000),
            last: false,
            index: 99,
            success_before: Ordinal(3),
            conflicts: 5,
        }),
        stored: Some(Stored {
            hash: next.hash(),
            record: next,
            shares: Hash([0x53; 32]),
            expires: Time(21),
            base: record.generation,
        }),
        live: Some(Live { record, hash, shares, since: Time(22) }),
        next_allowed: Time(23),
        writers: vec![writer()],
        ended: Some(Ended { cause: Cause::Deleted, at: Time(24), reg_id: RegId([0x54; 16]) }),
        last_operation: Some(OperationId([0x55; 16])),
        created: Time(25),
        changed: 26,
        finished: Some(AttemptId([0x42; 16])),
        finished_seed: Some(Secret32::new([0x56; 32])),
        failed: vec![AttemptId([0x57; 16]), AttemptId([0x58; 16])],
        retired: vec![Retired {
            owner: PublicKey([0x59; 32]),
            writers: vec![writer()],
            until: Time(28),
            since: Generation(5),
        }],
        forgotten: 29,
        owner_since: Generation(5),
    }
}

fn writer() -> Writer {
    Writer {
        id: WriterId([0x61; 16]),
        ledger: LEDGER,
        v: Some(Secret32::new([0x62; 32])),
        before: Some(Before { v: Secret32::new([0x63; 32]), until: Time(27) }),
        forgotten: Some(Time(30)),
    }
}

fn event(kind: EventKind) -> Event {
    Event {
        route: Route([0x41; 32]),
        kind,
        at: Time(31),
        state: State::Live,
        generation: Generation(2),
        tries_left: 9,
        next_allowed: Time(32),
        since: Some(Time(33)),
    }
}

const KINDS: [EventKind; 8] = [
    EventKind::Registered,
    EventKind::Attempt,
    EventKind::Failed,
    EventKind::Recovered,
    EventKind::Ended(Cause::Exhausted),
    EventKind::Ended(Cause::Deleted),
    EventKind::Named,
    EventKind::Dropped,
];

fn checkpoint() -> Checkpoint {
    Checkpoint {
        lineage: LINEAGE,
        era: Era(3),
        shard: 4,
        term: 5,
        leader: NodeId(6),
        index: 7,
        chain: Hash([0xc1; 32]),
        list: 8,
        time: Time(9),
        rows: 10,
        digest: Hash([0xc2; 32]),
        version: 12,
    }
}

fn bytes<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).unwrap()
}

fn stored_forms() -> Vec<(String, Vec<u8>)> {
    let name = |c: &Command| format!("{c:?}").split('(').next().unwrap_or_default().to_owned();
    let commands = batch().commands;
    let states = [State::None, State::Live, State::LastTry, State::Locked, State::Destroyed, State::Deleted];
    let mut all = vec![("Record".to_owned(), record().encode())];
    all.extend(commands.iter().map(|c| (name(c), bytes(c))));
    all.push(("Account".into(), bytes(&account())));
    let signature =
        RegionSignature { slot: Slot(1), certificate: vec![0xc3; 90], signature: Signature([0xc4; 64]) };
    let certificate = Certificate { checkpoint: checkpoint(), signatures: vec![signature] };
    all.push(("Certificate".into(), bytes(&certificate)));
    all.push(("Event".into(), bytes(&event(EventKind::Registered))));
    all.push(("EventKind".into(), bytes(&KINDS.to_vec())));
    all.push(("State".into(), bytes(&states.to_vec())));
    all
}

fn statements() -> Vec<(&'static str, Vec<u8>)> {
    let (operation, reg_id) = (OperationId([0xb1; 16]), RegId([0xb2; 16]));
    let (era, generation) = (Era(3), Generation(4));
    let owned = Owned {
        lineage: &LINEAGE,
        era,
        account: &ACCOUNT,
        generation,
        operation: &operation,
        expires: Time(5),
    };
    let attempt = Attempt {
        lineage: LINEAGE,
        era,
        account: ACCOUNT,
        generation,
        ordinal: Ordinal(6),
        success: Ordinal(5),
        attempt: AttemptId([0xb3; 16]),
        blinded: Element([0xb4; 32]),
        record: RECORD,
        commitments: vec![Element([0xb5; 32]), Element([0xb6; 32])],
        ksf: KsfParams { memory_kib: 65536, passes: 3, lanes: 4 },
        budget: 10,
        right: Right([0xba; 32]),
    };
    let attested = Attested {
        nonce: [0xb7; 32],
        subject: SUBJECT,
        slot: Slot(2),
        lineage: LINEAGE,
        era,
        account: ACCOUNT,
        state: State::LastTry,
        generation,
        ordinal: Ordinal(6),
        success: Ordinal(5),
        tries_left: 8,
        next_allowed: Time(9),
        record: RECORD,
        index: 11,
        writers: attested(&[writer()]),
        owner: Hash([0xbe; 32]),
        retired: vec![AttestedRetired {
            owner: Hash([0xc3; 32]),
            writers: Hash([0xc4; 32]),
            until: Time(19),
        }],
        lifetime_failures: 12,
        time: Time(18),
    };
    let (writer_id, expected) = (writer().id, Some(RECORD));
    let naming =
        Naming { writer: writer_id, expected, ledger: LEDGER, v: Some(v_hash(&Secret32::new([0xbd; 32]))) };
    let (key, beta) = (PublicKey([0xb8; 32]), Element([0xb9; 32]));
    let (id, b) = (&attempt.attempt, &attempt.blinded);
    let (slot, at) = (Slot(2), Time(13));
    vec![
        ("owner register", s::owner(&owned, &Operation::Register(RECORD))),
        ("owner ledger", s::owner(&owned, &Operation::SetLedger(Naming { v: None, ..naming }))),
        ("owner ledger-and-v", s::owner(&owned, &Operation::SetLedger(naming))),
        ("owner forget-writer", s::owner(&owned, &Operation::ForgetWriter(writer().id, LEDGER.hash))),
        ("owner delete", s::owner(&owned, &Operation::Delete)),
        ("held", {
            let ballot = |term, node| Ballot { term, node: NodeId(node) };
            let (vote, leader) = (ballot(21, 14), ballot(20, 22));
            s::held(&LINEAGE, era, NodeId(14), 2, vote, leader, 23, &LEDGER.hash)
        }),
        ("appended", s::appended(&LINEAGE, era, 2, Ballot { term: 21, node: NodeId(14) }, 23, &RECORD)),
        ("voted", s::voted(&LINEAGE, era, NodeId(14), 2, Ballot { term: 21, node: NodeId(22) })),
        ("applies", s::applies(&LINEAGE, era, slot, 24)),
        ("confirm", s::confirm(&LINEAGE, era, &ACCOUNT, generation, &reg_id, &RECORD)),
        ("subject", s::subject(&[0xb7; 32], "issuer", "subject", 20).0.into()),
        (
            "acknowledgement",
            s::acknowledgement(&LINEAGE, era, &reg_id, slot, &RECORD, &LEDGER.hash, &SUBJECT),
        ),
        ("checkpoint", s::checkpoint(&checkpoint(), slot)),
        ("proof_context", s::proof_context(&attempt, slot).0.into()),
        ("evaluation", s::evaluation(&attempt, slot, &beta, &SUBJECT)),
        ("permit", s::permit(&LINEAGE, era, &ACCOUNT, generation, Ordinal(6), id, b, &LEDGER.hash, 15)),
        ("login_context", s::login_context(&LINEAGE, era, &ACCOUNT, generation, Ordinal(6), id, b).0.into()),
        ("attestation", s::attestation(&attested)),
        (
            "attestation of no backup",
            s::attestation(&Attested { writers: vec![], retired: vec![], ..attested }),
        ),
        ("read_ledgers", s::read_ledgers(&LINEAGE, era, &ACCOUNT, &[0xbf; 32])),
        ("boot_certificate", s::boot_certificate(&LINEAGE, era, NodeId(14), slot, 15, &key, at, Time(16))),
        (
            "receipt",
            s::receipt(
                &LINEAGE,
                era,
                slot,
                &ACCOUNT,
                generation,
                Ordinal(6),
                s::ReceiptKind::GivenUp,
                b"ref",
                17,
                at,
            ),
        ),
        ("event", s::event(&LINEAGE, era, slot, 18, 19, b"event")),
        ("share_info", s::share_info(&RECORD, slot)),
        ("cancel_hash", s::cancel_hash(&[0xba; 32]).0.into()),
        ("route", s::route("issuer", "subject").0.into()),
        ("account_input", s::account_input("issuer", "subject", 20)),
        ("lineage", s::lineage(&[key, PublicKey([0xbb; 32])], &[0xbc; 16]).0.into()),
    ]
}

#[track_caller]
fn golden<S: AsRef<str>>(all: &[(S, Vec<u8>)], golden: &[(&str, &str)]) {
    let kept = |name: &str| golden.iter().find(|(n, _)| *n == name).map_or("", |(_, g)| *g);
    let changed: Vec<String> = (all.iter().map(|(name, bytes)| (name.as_ref(), shown(bytes))))
        .filter(|(name, now)| now != kept(name))
        .map(|(name, now)| format!("(\"{name}\", \"{now}\"),"))
        .collect();
    assert!(changed.is_empty(), "these are now\n{}", changed.join("\n"));
    assert_eq!(all.len(), golden.len());
}

#[test]
fn stored_values_have_golden_bytes() {
    golden(&stored_forms(), &STORED);
}

#[test]
fn signed_and_hashed_values_have_golden_bytes() {
    golden(&statements(), &STATEMENTS);
    assert_eq!(
        record().hash().to_string(),
        "2b585e0ab27566b3edf85deb3acf93b9beac80a6abe2e73addcb23ef0db5c79a"
    );
    let shares = [1, 2].map(|n| SealedShare { slot: Slot(n), enc: vec![n; 32], ct: vec![n + 2; 48] });
    assert_eq!(
        shares_hash(&shares).to_string(),
        "731567965219eab70e56708fae71f5ca648655d48e5819facc830065f6f11873"
    );
    assert_eq!(shown(&framed("ab", &[b"", b"c"])), "00*7 026162 00*15 0163");
    assert_eq!(
        shown(&entry_content(b"entry").0),
        "478af68084de3f2d209508c77e7c129b4cfb2cbde8d361df81b1b481cbe4f743"
    );
    assert_eq!(
        shown(&chain(&LEDGER.hash, &RECORD).0),
        "59115bea93d84180e111ca778a8f43437566fa974871084cf5a4ed00988c6dc2"
    );
}

/// Fails if a new statement has no golden bytes.
#[test]
fn every_statement_has_its_golden_bytes_and_a_label_of_its_own() {
    let source = concat!(
        include_str!("../../src/statement.rs"),
        include_str!("../../src/statement/log.rs"),
        include_str!("../../src/operation.rs")
    );
    let code: String = source.lines().filter(|l| !l.starts_with("///")).collect();
    let made = source.lines().filter_map(|l| l.strip_prefix("pub fn ")?.split('(').next());
    let made: BTreeSet<&str> = made.collect();
    let kept = STATEMENTS.iter().filter_map(|(n, _)| n.split(' ').next()).collect();
    assert_eq!(made, kept);
    // All payloads have the same label on purpose: the operation's name in the statement distinguishes them.
    let labels: Vec<&str> =
        code.split('"').filter(|l| l.starts_with("bkv/") && *l != "bkv/payload/1").collect();
    assert_eq!(labels.iter().collect::<BTreeSet<_>>().len(), labels.len(), "a label twice: {labels:?}");
}

#[test]
fn a_record_has_one_encoding_and_no_other_is_read() {
    let good = record().encode();
    assert_eq!(good[..3], [0x91, 0x58, 0x20]);
    let rest = &good[1..];
    let others = [
        ("an array without a length", [&[0x9f], rest, &[0xff]].concat()),
        ("a longer length of the array", [&[0x98, 17], rest].concat()),
        ("a longer length of a string", [&[0x91, 0x59, 0, 0x20], &good[3..]].concat()),
        ("a longer number", [&good[..35], &[0x18, 1], &good[36..]].concat()),
        ("a tag", [&[0xc1], good.as_slice()].concat()),
        ("a later field", [&[0x92], rest, &[0xf6]].concat()),
        ("bytes behind it", [&good, &[0][..]].concat()),
    ];
    assert_eq!(good[35], 1, "the era");
    for (what, bytes) in others {
        let decoded = Record::decode(&bytes);
        assert!(decoded.is_err(), "{what}");
        if what == "a later field" {
            assert_eq!(
                decoded,
                Err(RecordError::NotCanonical),
                "read, and refused: H(record) covers all of it"
            );
        }
    }
    assert_eq!(Record::decode(&good).unwrap(), record());
}

/// The bytes with one more field after the last, as a later version may write them.
fn longer(bytes: &[u8]) -> Vec<u8> {
    assert!((0x81..0x97).contains(&bytes[0]), "a short array");
    [&[bytes[0] + 1], &bytes[1..], &[0x82, 0x01, 0x61, b'x']].concat()
}

/// The bytes without the last `n` fields of one byte each, as an earlier version wrote them.
fn shorter(bytes: &[u8], n: usize) -> Vec<u8> {
    let less = bytes[0] - u8::try_from(n).unwrap();
    [&[less], &bytes[1..bytes.len() - n]].concat()
}

fn read<T: for<'a> Decode<'a, ()>>(bytes: &[u8]) -> Option<T> {
    minicbor::decode(bytes).ok()
}

#[test]
fn later_fields_are_skipped_and_optional_ones_may_be_missing() {
    let full = account();
    assert_eq!(read::<Account>(&longer(&bytes(&full))), Some(full.clone()));
    let recovered = event(EventKind::Recovered);
    assert_eq!(read::<Event>(&longer(&bytes(&recovered))), Some(recovered.clone()));
    let Some(Command::Begin(begin)) = batch().commands.into_iter().nth(4) else { unreachable!() };
    assert_eq!(read::<Begin>(&longer(&bytes(&begin))), Some(begin.clone()));
    // An account from a version without the list of failed ids.
    let plain = Account {
        finished: None,
        finished_seed: None,
        failed: vec![],
        retired: vec![],
        forgotten: 0,
        owner_since: Generation(0),
        ..full
    };
    let old = shorter(&bytes(&plain), 4);
    assert_eq!((bytes(&plain)[0], old[0]), (0x94, 0x90));
    assert_eq!(read::<Account>(&old), Some(plain));
    let bare = Event { since: None, ..recovered };
    // An absent last field is not written at all.
    assert_eq!((bytes(&bare)[0], read::<Event>(&bytes(&bare))), (0x87, Some(bare)));
    // Fields that a decision needs must be present.
    let torn = bytes(&begin);
    assert_eq!(read::<Begin>(&[&[torn[0] - 1], &torn[1..torn.len() - 34]].concat()), None);
}

#[test]
fn a_receipt_keeps_the_names_of_its_kinds() {
    let names = s::ReceiptKind::ALL.map(s::ReceiptKind::name);
    assert_eq!(names, ["registered", "recovered", "given-up", "deleted", "named", "forgotten"]);
    for kind in s::ReceiptKind::ALL {
        assert_eq!(s::ReceiptKind::named(kind.name()), Some(kind));
    }
    assert_eq!(s::ReceiptKind::named("done"), None);
}
