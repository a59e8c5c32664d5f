//! Regions with real keys, and the root that signs for them.

use bkv_client::{Root, Zeroizing};
use bkv_core::document::{Admission, JwksSource, Member, Policy};
use bkv_core::id::{Era, FleetId, Hash, Lineage, NodeId, PublicKey, Slot, Time};
use bkv_core::record::{AttemptPolicy, KsfParams};
use bkv_crypto::delivery::DeliveryKey;
use bkv_fixtures::SoftwareIdentity;
use bkv_wire::boot::Claims;
use bkv_wire::channel::ServerSettings;
use bkv_wire::documents::{Kind, RootKey, add_signature, unsigned, write_admission, write_policy};
use bkv_wire::proto::outer;
use ed25519_dalek::SigningKey;
use prost::Message as _;

pub const DAY: u64 = 86_400_000;
/// Where the tests' clock begins.
pub const START: u64 = 1_900_000_000_000;

pub struct Region {
    pub slot: Slot,
    pub settings: ServerSettings,
    pub boot: SigningKey,
    pub certificate: Vec<u8>,
    pub delivery: DeliveryKey,
    pub member: Member,
}

/// A vault's TLS settings with a key that is not on any admission list.
pub fn stranger() -> ServerSettings {
    ServerSettings::new(SoftwareIdentity::generate().tls).unwrap()
}

impl Region {
    pub fn new(slot: u8, lineage: Lineage) -> Self {
        let identity = SoftwareIdentity::generate();
        let boot = SigningKey::generate(&mut rand::rngs::OsRng);
        let delivery = DeliveryKey::generate().unwrap();
        let claims = Claims {
            lineage,
            era: Era(1),
            node: NodeId(u64::from(slot)),
            slot: Slot(slot),
            admission: 1,
            key: PublicKey(boot.verifying_key().to_bytes()),
            not_before: Time(START - DAY / 2),
            not_after: Time(START + DAY / 2),
        };
        let signature = identity.sign(&claims.statement());
        Self {
            slot: Slot(slot),
            settings: ServerSettings::new(identity.tls).unwrap(),
            boot,
            certificate: claims.encode(&signature),
            member: Member {
                region: format!("region-{slot}"),
                slot: Slot(slot),
                node: NodeId(u64::from(slot)),
                identity: identity.spki,
                delivery: delivery.public().to_vec(),
            },
            delivery,
        }
    }
}

pub fn root_key(seed: u8) -> RootKey {
    RootKey::from_seed(&Zeroizing::new([seed; 32]))
}

pub fn root(seed: u8) -> Root {
    Root {
        keys: vec![root_key(seed).public()],
        threshold: 1,
        fleet: FleetId([7; 16]),
        era: Era(1),
        development: true,
    }
}

pub fn admission(lineage: Lineage, regions: &[Region]) -> Admission {
    Admission {
        lineage,
        era: Era(1),
        number: 1,
        not_before: Time(START - 10 * DAY),
        not_after: Time(START + 10 * DAY),
        threshold: 2,
        members: regions.iter().map(|r| r.member.clone()).collect(),
        hash: Hash([0; 32]),
    }
}

pub fn policy(lineage: Lineage) -> Policy {
    Policy {
        lineage,
        era: Era(1),
        number: 1,
        not_before: Time(START - 10 * DAY),
        not_after: Time(START + 10 * DAY),
        issuer: "https://issuer.example".into(),
        vault_audience: "vault".into(),
        chatd_audience: "chatd".into(),
        jwks: JwksSource::Inline("{\"keys\":[]}".into()),
        enrolment_claim: None,
        attempts: AttemptPolicy {
            max: 3,
            lifetime_failures: 20,
            waits_ms: vec![0],
            last_try_ms: DAY,
            attempt_ms: 60_000,
        },
        store_ms: 60_000,
        ksf_floor: KsfParams { memory_kib: 8, passes: 1, lanes: 1 },
        ksf_ceiling: KsfParams { memory_kib: 64, passes: 2, lanes: 1 },
        token_max_age_ms: 600_000,
        bound_tokens: false,
        shards: 4,
        hash: Hash([0; 32]),
        development: true,
    }
}

/// The bundle, signed by the roots with these seeds.
pub fn bundle(admission: &Admission, policy: &Policy, seeds: &[u8]) -> Vec<u8> {
    let sign = |kind, body: Vec<u8>| {
        seeds
            .iter()
            .fold(unsigned(kind, body), |doc, seed| add_signature(kind, &doc, &root_key(*seed)).unwrap())
    };
    outer::Bundle {
        admission: sign(Kind::Admission, write_admission(admission).unwrap()).into(),
        policy: sign(Kind::Policy, write_policy(policy).unwrap()).into(),
        region: String::new(),
    }
    .encode_to_vec()
}
