//! S38: answers as an attacker who controls a vault, or a proxy before it, may write them. Nothing panics, and what is read means the same when it is
//! written again.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::sample::Index;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::*;

/// An answer of each kind.
const ANSWERS: [&str; 5] = [
    r#"{"region":"a","node":1,"ready":true,"initialised":true,"capabilities":["EcdsaP256"],"shards":[{"shard":3,"phase":"joining","waits_for":["b"],"leads":true}],"token":"up","admission":1}"#,
    r#"{"region":"a","node":7,"identity":"AQID","delivery":"BA==","fingerprints":{"delivery":"d"},"capabilities":{"library":"l","libraryVersion":"2.6","cryptokiVersion":"2.40","tokenModel":"m","firmwareVersion":"1","can":["HmacSha256"],"cannot":[{"capability":"HmacSha512","why":"w"}],"destruction":"Immediate"}}"#,
    r#"{"root":"AQID","fingerprint":"f","held":false}"#,
    r#"{"for":[{"slot":2,"region":"b","sealed":"AQID"}]}"#,
    r#"{"field":"kind","error":"missing","remedy":"add it"}"#,
];

/// What replaces a piece of an answer.
const PIECES: [&str; 14] = [
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551616",
    "\"\"",
    "\"§\"",
    "\"quarantined\"",
    "[]",
    "{}",
    ",",
    "\"",
    "[[[[",
    "",
];

fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(read) = serde_json::from_slice::<T>(bytes) {
        let written = serde_json::to_vec(&read).unwrap();
        prop_assert_eq!(serde_json::from_slice::<T>(&written).unwrap(), read);
    }
    Ok(())
}

fn every_type(bytes: &[u8]) -> Result<(), TestCaseError> {
    same::<VaultStatus>(bytes)?;
    same::<VaultToken>(bytes)?;
    same::<PublicRoot>(bytes)?;
    same::<SealedRoots>(bytes)?;
    same::<HandOver>(bytes)?;
    same::<Signed>(bytes)?;
    same::<Installed>(bytes)?;
    same::<FleetMade>(bytes)?;
    same::<Problem>(bytes)
}

proptest! {
    #[test]
    fn s38_arbitrary_bytes_are_refused_or_read(bytes: Vec<u8>) {
        every_type(&bytes)?;
    }

    #[test]
    fn s38_a_changed_answer_is_refused_or_read(
        answer in proptest::sample::select(&ANSWERS[..]),
        piece in proptest::sample::select(&PIECES[..]),
        from: Index,
        to: Index,
    ) {
        let places: Vec<usize> = answer.match_indices([':', '[', ',', '"', '}']).map(|(i, _)| i).collect();
        let (from, to) = (*from.get(&places), *to.get(&places));
        let (from, to) = (from.min(to), from.max(to));
        let changed = format!("{}{piece}{}", &answer[..=from], &answer[to..]);
        every_type(changed.as_bytes())?;
    }

    #[test]
    fn s38_every_phase_is_read_whatever_it_carries(phase in "joining|catching-up|verified|quarantined|halted|[a-z-]{0,12}", waits_for: String, number: u64) {
        for waits_for in [Value::Null, waits_for.clone().into(), number.into(), vec![waits_for].into()] {
            let shard = serde_json::json!({ "shard": 0, "phase": phase, "waits_for": waits_for });
            let read: ShardStatus = serde_json::from_value(shard).unwrap();
            prop_assert!(read.phase.name() == phase || read.phase == Phase::Unknown);
        }
    }

    #[test]
    fn s38_an_arbitrary_request_is_never_taken_for_a_draft(bytes: Vec<u8>) {
        let list = bkv_core::document::Admission {
            lineage: bkv_core::id::Lineage([1; 32]),
            era: bkv_core::id::Era(1),
            number: 1,
            not_before: bkv_core::id::Time(0),
            not_after: bkv_core::id::Time(1),
            threshold: 1,
            members: Vec::new(),
            hash: bkv_core::id::Hash([0; 32]),
        };
        prop_assert!(!draft::Draft::Admission(list).does_as_well(&bytes));
    }
}
