//! S38: the bytes that a client, a rooted leader or another vault can send: log entries, records, snapshot rows, events. Any bytes are decoded or
//! refused without a panic. A decoded value stays the same after it is encoded and decoded again.

use minicbor::{Decode, Encode};
use proptest::prelude::*;

use bkv_core::account::{Account, Success};
use bkv_core::batch::Batch;
use bkv_core::command::{
    Begin, Command, Confirm, Delete, Expire, Finish, ForgetWriter, GiveUp, Init, Raise, SetLedger, Store,
    VERSION,
};
use bkv_core::document::{Admission, NewDocuments, Policy};
use bkv_core::event::Event;
use bkv_core::id::{
    AccountId, AttemptId, Element, Era, FleetId, Generation, Hash, Lineage, OperationId, Ordinal, PublicKey,
    RegId, Right, Route, Signature, Slot, Time, WriterId,
};
use bkv_core::record::{AttemptPolicy, KsfParams, Record, SealedShare};
use bkv_core::secret::Secret32;
use bkv_core::shard::Shard;
use bkv_core::signature::{OwnerSignature, RegionSignature};
use bkv_core::writers::LedgerName;

pub(super) fn record() -> Record {
    Record {
        lineage: Lineage([1; 32]),
        era: Era(1),
        account: AccountId([2; 32]),
        generation: Generation(6),
        reg_id: RegId([3; 16]),
        threshold: 2,
        slots: 3,
        admission: 11,
        policy: 12,
        attempts: AttemptPolicy {
            max: 10,
            lifetime_failures: 100,
            waits_ms: vec![0, 60_000],
            last_try_ms: 13,
            attempt_ms: 14,
        },
        upload: vec![4; Record::UPLOAD_LEN],
        commitments: vec![Element([5; 32]); 2],
        ciphertext: vec![6; 60],
        owner: PublicKey([7; 32]),
        ksf: KsfParams { memory_kib: 19 << 10, passes: 2, lanes: 1 },
        server: PublicKey([10; 32]),
        right: Right([11; 32]),
    }
}

/// One of each command. Adjacent fields differ, so that the test detects swapped fields.
pub(super) fn batch() -> Batch {
    let account = AccountId([2; 32]);
    let owner =
        OwnerSignature { operation: OperationId([8; 16]), expires: Time(9), signature: Signature([9; 64]) };
    let documents = NewDocuments { admission: vec![1; 40], policy: vec![2; 40] };
    let shares = vec![SealedShare { slot: Slot(1), enc: vec![1; 32], ct: vec![2; 48] }];
    let commands = vec![
        Command::Init(Init {
            fleet: FleetId([1; 16]),
            lineage: Lineage([1; 32]),
            era: Era(1),
            shard: 3,
            index: Secret32::new([3; 32]),
            documents: documents.clone(),
            version: 4,
        }),
        Command::Documents(documents),
        Command::Store(Box::new(Store {
            account,
            route: Route([4; 32]),
            request: vec![5; 32],
            response: vec![6; 64],
            record: record(),
            shares,
            z: Secret32::new([7; 32]),
            owner: Some(owner),
        })),
        Command::Confirm(Confirm {
            account,
            reg_id: RegId([3; 16]),
            record: Hash([1; 32]),
            acknowledgements: vec![RegionSignature {
                slot: Slot(1),
                certificate: vec![1; 90],
                signature: Signature([2; 64]),
            }],
            signature: Signature([3; 64]),
            subject: Hash([4; 32]),
        }),
        Command::Begin(Begin {
            account,
            generation: Generation(1),
            ordinal: Ordinal(5),
            attempt: AttemptId([1; 16]),
            blinded: Element([2; 32]),
            cancel: Hash([3; 32]),
            seed: Secret32::new([4; 32]),
            may_be_last: true,
            permits: vec![RegionSignature {
                slot: Slot(1),
                certificate: vec![1; 90],
                signature: Signature([2; 64]),
            }],
        }),
        Command::GiveUp(GiveUp { account, attempt: AttemptId([1; 16]), cancel: Secret32::new([5; 32]) }),
        Command::Finish(Finish {
            account,
            attempt: AttemptId([1; 16]),
            ke1: vec![1; 96],
            ke2: vec![2; 300],
            ke3: vec![3; 128],
        }),
        Command::Expire(Expire { account }),
        Command::SetLedger(SetLedger {
            account,
            writer: WriterId([10; 16]),
            expected: Some(Hash([11; 32])),
            ledger: LedgerName { counter: 1, hash: Hash([2; 32]) },
            v: Some(Secret32::new([12; 32])),
            owner,
        }),
        Command::Delete(Delete { account, owner }),
        Command::ForgetWriter(ForgetWriter {
            account,
            writer: WriterId([10; 16]),
            expected: Hash([11; 32]),
            owner,
        }),
        Command::Raise(Raise {
            version: 5,
            signatures: vec![RegionSignature {
                slot: Slot(1),
                certificate: vec![1; 90],
                signature: Signature([2; 64]),
            }],
        }),
    ];
    Batch { version: VERSION, time: Time(1), commands }
}

/// Decodes the bytes. A decoded value must be the same after it is encoded and decoded again.
fn judged<T: for<'a> Decode<'a, ()> + Encode<()> + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> bool {
    let Ok(value) = minicbor::decode::<T>(bytes) else { return false };
    let again = minicbor::to_vec(&value).unwrap();
    assert_eq!(minicbor::decode::<T>(&again).unwrap(), value);
    true
}

fn all(bytes: &[u8]) {
    judged::<Batch>(bytes);
    judged::<Command>(bytes);
    judged::<Account>(bytes);
    judged::<Success>(bytes);
    judged::<Shard>(bytes);
    judged::<Event>(bytes);
    judged::<Admission>(bytes);
    judged::<Policy>(bytes);
    judged::<Vec<SealedShare>>(bytes);
    if let Ok(record) = Record::decode(bytes) {
        assert_eq!(record.encode(), bytes, "one encoding only: H(record) must be unique");
    }
}

/// An attacker can send huge lengths. The parser must not allocate memory for them before the bytes are there.
#[test]
fn s38_lengths_beyond_the_input_are_refused() {
    for head in [0x5b, 0x7b, 0x9b, 0xbb_u8] {
        for length in [u64::MAX, 1 << 40, u64::from(u32::MAX)] {
            let mut bytes = vec![head];
            bytes.extend_from_slice(&length.to_be_bytes());
            all(&bytes);
            all(&[&[0x82, 0x01], bytes.as_slice()].concat());
        }
    }
    // Nested arrays, deep enough to overflow the stack of a recursive parser.
    all(&vec![0x81; 100_000]);
    all(&vec![0x9f; 100_000]);
    all(&vec![0xc1; 100_000]);
}

#[test]
fn the_samples_are_good() {
    assert!(judged::<Batch>(&minicbor::to_vec(batch()).unwrap()));
    assert_eq!(Record::decode(&record().encode()).unwrap(), record());
}

proptest! {
    #[test]
    fn s38_arbitrary_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        all(&bytes);
    }

    #[test]
    fn s38_changed_entries_decode_or_are_refused(which: prop::sample::Index, at: prop::sample::Index, to: u8, cut: prop::sample::Index) {
        let good = batch();
        let one = Batch { version: VERSION, time: good.time, commands: vec![which.get(&good.commands).clone()] };
        let good = minicbor::to_vec(&one).unwrap();
        let mut bytes = good.clone();
        let at = at.index(bytes.len());
        bytes[at] = to;
        all(&bytes);
        // Cut the unchanged bytes. With a changed length the cut bytes could be unused ones.
        let end = cut.index(good.len());
        prop_assert!(!judged::<Batch>(&good[..end]), "a cut entry was read");
    }

    #[test]
    fn s38_a_changed_record_is_refused_or_another(at: prop::sample::Index, by in 1u8..) {
        let good = record();
        let mut bytes = good.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        if let Ok(other) = Record::decode(&bytes) {
            prop_assert_ne!(other.hash(), good.hash());
        }
        bytes[at] ^= by;
        bytes.push(by);
        prop_assert!(Record::decode(&bytes).is_err(), "bytes behind a record were taken");
    }
}
