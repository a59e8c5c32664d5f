//! The JSON of every type, as vaults and operators of other versions have it. A change here is a change of the contract.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::*;

/// `value` is written as `golden`, and `golden` reads as `value`.
#[track_caller]
fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, golden: &Value) {
    assert_eq!(serde_json::to_value(value).unwrap(), *golden);
    assert_eq!(serde_json::from_value::<T>(golden.clone()).unwrap(), *value);
}

#[test]
fn the_status() {
    let status = VaultStatus {
        version: Some("0.1.0".into()),
        state_versions: Some((4, 5)),
        region: "eu-west".into(),
        node: 7,
        ready: true,
        fleet: Some("0102".into()),
        root: Some("print".into()),
        root_held: true,
        capabilities: Some(vec![Capability::EcdsaP256, Capability::DataObjects]),
        initialised: true,
        shards: vec![ShardStatus {
            shard: 3,
            phase: Phase::Verified,
            leads: true,
            leader: Some("eu-west".into()),
            term: 2,
            applied: 9,
            purged: 4,
            state_version: Some(4),
        }],
        token: TokenHealth::Down,
        token_error: Some("no such token".into()),
        fingerprints: Fingerprints { identity: None, delivery: "d".into() },
        issuer_keys_read: Some(0),
        issuer_keys_fresh: Some(false),
        admission: Some(1),
        policy: Some(2),
        rollback_protection: RollbackProtection::MajorityOnly,
        volume: Some(Volume { free: 5, size: 9, keep_free: 6, full: true, reserve: true }),
        notes: vec!["development root".into()],
    };
    golden(
        &status,
        &json!({
            "version": "0.1.0", "state_versions": [4, 5], "region": "eu-west", "node": 7, "ready": true, "fleet": "0102", "root": "print", "root_held": true,
            "capabilities": ["EcdsaP256", "DataObjects"], "initialised": true,
            "shards": [{ "shard": 3, "phase": "verified", "leads": true, "leader": "eu-west", "term": 2, "applied": 9, "purged": 4, "state_version": 4 }],
            "token": "down", "token_error": "no such token", "fingerprints": { "delivery": "d" }, "issuer_keys_read": 0, "issuer_keys_fresh": false,
            "admission": 1, "policy": 2, "rollback_protection": "MajorityOnly",
            "volume": { "free": 5, "size": 9, "keep_free": 6, "full": true, "reserve": true }, "notes": ["development root"],
        }),
    );
}

#[test]
fn every_phase() {
    for (phase, name, waits_for) in [
        (Phase::Joining(vec!["us-east".into()]), "joining", json!(["us-east"])),
        (Phase::CatchingUp(12), "catching-up", json!(12)),
        (Phase::Quarantined("older".into()), "quarantined", json!("older")),
        (Phase::Halted("contradiction".into()), "halted", json!("contradiction")),
        (Phase::LeftBehind("version 5".into()), "left-behind", json!("version 5")),
    ] {
        assert_eq!(phase.name(), name);
        golden(&phase, &json!({ "phase": name, "waits_for": waits_for }));
    }
    golden(&Phase::Verified, &json!({ "phase": "verified" }));
}

/// Answers of an earlier and of a later version of the vault.
#[test]
fn other_versions_are_read() {
    let shard = |json: Value| serde_json::from_value::<ShardStatus>(json).unwrap().phase;
    assert_eq!(shard(json!({ "shard": 0, "phase": "verified", "waits_for": null })), Phase::Verified);
    for waits_for in [json!(null), json!("x"), json!(["x"]), json!({ "a": 1 })] {
        assert_eq!(shard(json!({ "shard": 0, "phase": "newer", "waits_for": waits_for })), Phase::Unknown);
    }
    let least = json!({ "region": "a", "node": 1, "ready": false, "initialised": false, "capabilities": null, "token": "Asleep", "newer": 1 });
    let read: VaultStatus = serde_json::from_value(least).unwrap();
    assert_eq!((read.token, read.capabilities), (TokenHealth::Unknown, None));
}

#[test]
fn the_token() {
    let token = VaultToken {
        region: "eu-west".into(),
        node: 7,
        identity: vec![1, 2, 3],
        delivery: vec![4],
        fingerprints: Fingerprints { identity: Some("i".into()), delivery: "d".into() },
        capabilities: Some(TokenCapabilities {
            library: "SoftHSM".into(),
            library_version: "2.6".into(),
            cryptoki_version: "2.40".into(),
            token_model: "SoftHSM v2".into(),
            firmware_version: "2.6".into(),
            can: vec![Capability::HmacSha256],
            cannot: vec![Cannot { capability: Capability::HmacSha512, why: "CKR_MECHANISM_INVALID".into() }],
            destruction: Destruction::Immediate,
        }),
    };
    golden(
        &token,
        &json!({
            "region": "eu-west", "node": 7, "identity": "AQID", "delivery": "BA==", "fingerprints": { "identity": "i", "delivery": "d" },
            "capabilities": {
                "library": "SoftHSM", "libraryVersion": "2.6", "cryptokiVersion": "2.40", "tokenModel": "SoftHSM v2", "firmwareVersion": "2.6",
                "can": ["HmacSha256"], "cannot": [{ "capability": "HmacSha512", "why": "CKR_MECHANISM_INVALID" }], "destruction": "Immediate",
            },
        }),
    );
    for capability in [
        Capability::EcdsaP256,
        Capability::HmacSha256,
        Capability::HmacSha512,
        Capability::DataObjects,
        Capability::Unknown,
    ] {
        golden(&capability, &json!(capability.name()));
    }
}

#[test]
fn the_rest() {
    golden(&Signed { signed: vec![1, 2, 3] }, &json!({ "signed": "AQID" }));
    golden(&Installed { kind: "policy".into(), number: 3 }, &json!({ "kind": "policy", "number": 3 }));
    golden(&FleetMade { fleet: "0102".into(), shards: 4 }, &json!({ "fleet": "0102", "shards": 4 }));
    golden(&Lifted { lifted: true }, &json!({ "lifted": true }));
    golden(&SteppingDown { stepping_down: true }, &json!({ "stepping_down": true }));
    golden(
        &PublicRoot { root: vec![1, 2, 3], fingerprint: "f".into(), held: false },
        &json!({ "root": "AQID", "fingerprint": "f", "held": false }),
    );
    golden(
        &SealedRoots { members: vec![SealedRoot { slot: 2, region: "b".into(), sealed: vec![1, 2, 3] }] },
        &json!({ "for": [{ "slot": 2, "region": "b", "sealed": "AQID" }] }),
    );
    golden(&HandOver { sealed: vec![1, 2, 3] }, &json!({ "sealed": "AQID" }));
    golden(&RootHeld { held: true }, &json!({ "held": true }));
    golden(
        &Problem { field: "kind".into(), error: "missing".into(), remedy: "add it".into() },
        &json!({ "field": "kind", "error": "missing", "remedy": "add it" }),
    );
    assert!(serde_json::from_value::<HandOver>(json!({ "sealed": "§" })).is_err());
}
