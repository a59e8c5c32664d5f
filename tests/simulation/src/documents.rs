//! Root, admission list and policy of a test fleet.

use bkv_core::document::{Admission, JwksSource, Member, NewDocuments, Policy};
use bkv_core::id::{Era, FleetId, Hash, Time};
use bkv_core::record::{AttemptPolicy, KsfParams};
use bkv_wire::documents::{Kind, Root, RootKey, add_signature, unsigned, write_admission, write_policy};
use zeroize::Zeroizing;

pub const ISSUER: &str = "https://issuer.example";
pub const VAULT_AUDIENCE: &str = "vault";

pub fn region(i: usize) -> String {
    format!("region-{i}")
}

/// The root of all test fleets, and its private key.
pub fn root() -> (Root, RootKey) {
    let key = RootKey::from_seed(&Zeroizing::new([7; 32]));
    let root = Root {
        keys: vec![key.public()],
        threshold: 1,
        fleet: FleetId([1; 16]),
        era: Era(1),
        development: true,
    };
    (root, key)
}

/// An admission list of which a majority must evaluate.
pub fn admission(root: &Root, members: Vec<Member>) -> Admission {
    Admission {
        lineage: root.lineage(),
        era: Era(1),
        number: 1,
        not_before: Time(0),
        not_after: Time(u64::MAX / 2),
        threshold: u8::try_from(members.len() / 2 + 1).unwrap(),
        members,
        hash: Hash([0; 32]),
    }
}

/// Ten tries without waits, and the least key stretching: the tests are about the vault.
pub fn policy(root: &Root, shards: u16, jwks: String) -> Policy {
    Policy {
        lineage: root.lineage(),
        era: Era(1),
        number: 1,
        not_before: Time(0),
        not_after: Time(u64::MAX / 2),
        issuer: ISSUER.into(),
        vault_audience: VAULT_AUDIENCE.into(),
        chatd_audience: "chatd".into(),
        jwks: JwksSource::Inline(jwks),
        enrolment_claim: None,
        attempts: AttemptPolicy {
            max: 10,
            lifetime_failures: 1000,
            waits_ms: vec![],
            last_try_ms: 86_400_000,
            attempt_ms: 600_000,
        },
        store_ms: 600_000,
        ksf_floor: KsfParams { memory_kib: 8, passes: 1, lanes: 1 },
        ksf_ceiling: KsfParams { memory_kib: 1 << 20, passes: 9, lanes: 9 },
        token_max_age_ms: 86_400_000,
        bound_tokens: false,
        shards,
        hash: Hash([0; 32]),
        development: true,
    }
}

pub fn sign(key: &RootKey, list: &Admission, policy: &Policy) -> NewDocuments {
    let sign = |kind, body| add_signature(kind, &unsigned(kind, body), key).unwrap();
    NewDocuments {
        admission: sign(Kind::Admission, write_admission(list).unwrap()),
        policy: sign(Kind::Policy, write_policy(policy).unwrap()),
    }
}
