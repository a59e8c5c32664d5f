//! Keys of vaults, for tests.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use bkv_core::document::{Admission, Member};
use bkv_core::id::{Era, Hash, Lineage, NodeId, PublicKey, Slot, Time};
use ed25519_dalek::SigningKey;

use crate::boot::Claims;
use crate::documents::P256_SPKI;

/// The identity as an admission list has it.
pub(crate) fn spki(identity: &EcdsaKeyPair) -> Vec<u8> {
    let point = identity.public_key().as_ref();
    // The head of the encoding and the point share the byte for "uncompressed".
    [&P256_SPKI[..P256_SPKI.len() - 1], point].concat()
}

/// A vault with its identity and its boot key.
pub(crate) struct Vault {
    identity: EcdsaKeyPair,
    pub(crate) boot: SigningKey,
    pub(crate) member: Member,
}

pub(crate) fn vault(slot: u8) -> Vault {
    let identity = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let member = Member {
        region: format!("r{slot}"),
        slot: Slot(slot),
        node: NodeId(u64::from(slot)),
        identity: spki(&identity),
        delivery: vec![slot; 32],
    };
    Vault { identity, boot: SigningKey::from_bytes(&[slot; 32]), member }
}

pub(crate) fn list(vaults: &[Vault]) -> Admission {
    list_of(vaults.iter().map(|v| v.member.clone()).collect())
}

pub(crate) fn list_of(members: Vec<Member>) -> Admission {
    Admission {
        lineage: Lineage([1; 32]),
        era: Era(1),
        number: 4,
        not_before: Time(0),
        not_after: Time(1 << 50),
        threshold: 2,
        members,
        hash: Hash([0; 32]),
    }
}

impl Vault {
    pub(crate) fn certificate(&self, list: &Admission, admission: u64) -> Vec<u8> {
        let claims = Claims {
            lineage: list.lineage,
            era: list.era,
            node: self.member.node,
            slot: self.member.slot,
            admission,
            key: PublicKey(self.boot.verifying_key().to_bytes()),
            not_before: Time(1_000),
            not_after: Time(2_000),
        };
        let signature = self.identity.sign(&SystemRandom::new(), &claims.statement()).unwrap();
        claims.encode(signature.as_ref())
    }
}
