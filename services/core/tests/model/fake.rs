//! A fake verifier and a fleet of three regions for it. Its signatures are hashes of public key and message, so a test can sign with the public key.

use bkv_core::document::{Admission, Documents, JwksSource, Member, NewDocuments, Policy};
use bkv_core::hash::{framed, tagged};
use bkv_core::id::{Element, Era, Hash, Lineage, NodeId, PublicKey, Signature, Slot, Time};
use bkv_core::record::{AttemptPolicy, KsfParams};
use bkv_core::signature::RegionSignature;
use bkv_core::verify::Verifier;

pub(super) const LINEAGE: Lineage = Lineage([7; 32]);
pub(super) const ERA: Era = Era(1);
pub(super) const REGIONS: u8 = 3;
pub(super) const STORE_MS: u64 = 200;
/// The end of the documents' validity.
pub(super) const END: Time = Time(1_000_000_000);

pub(super) struct Fake;

pub(super) fn sign(key: &PublicKey, message: &[u8]) -> Signature {
    let half = tagged("fake/signature", &[&key.0, message]).0;
    let mut out = [0; 64];
    out[..32].copy_from_slice(&half);
    out[32..].copy_from_slice(&half);
    Signature(out)
}

pub(super) fn boot_key(identity: &[u8]) -> PublicKey {
    PublicKey(tagged("fake/boot", &[identity]).0)
}

/// A signature by the region at this slot.
pub(super) fn signed_by(slot: Slot, statement: &[u8]) -> RegionSignature {
    let key = boot_key(&[slot.0; 91]);
    RegionSignature { slot, certificate: key.0.to_vec(), signature: sign(&key, statement) }
}

/// The server's public key under z.
pub(super) fn server_key(z: &[u8; 32]) -> PublicKey {
    PublicKey(tagged("fake/server", &[z]).0)
}

pub(super) fn response(z: &[u8; 32], request: &[u8]) -> Vec<u8> {
    [tagged("fake/response", &[z, request]).0, server_key(z).0].concat()
}

/// The bytes that the fake client signs in KE3.
fn login(context: &[u8], transcript: &[u8]) -> Vec<u8> {
    framed("fake/login", &[context, transcript])
}

/// KE3 of a client that has this key.
pub(super) fn ke3(key: &PublicKey, context: &Hash, ke1: &[u8], ke2: &[u8]) -> Vec<u8> {
    sign(key, &login(&context.0, &[ke1, ke2].concat())).0.to_vec()
}

impl Verifier for Fake {
    fn documents(&self, lineage: &Lineage, era: Era, new: &NewDocuments, at: Time) -> Option<Documents> {
        let mut admission: Admission = minicbor::decode(&new.admission).ok()?;
        let mut policy: Policy = minicbor::decode(&new.policy).ok()?;
        admission.hash = tagged("fake/document", &[&new.admission]);
        policy.hash = tagged("fake/document", &[&new.policy]);
        let ours = (admission.lineage, admission.era) == (*lineage, era)
            && (policy.lineage, policy.era) == (*lineage, era)
            && at >= admission.not_before.max(policy.not_before)
            && at <= admission.not_after.min(policy.not_after);
        ours.then(|| Documents {
            admission,
            policy,
            admission_signed: new.admission.clone(),
            policy_signed: new.policy.clone(),
        })
    }

    fn registration_response(&self, z: &[u8; 32], request: &[u8]) -> Option<Vec<u8>> {
        (!request.is_empty()).then(|| response(z, request))
    }

    fn signature(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        sign(key, message) == *signature
    }

    fn upload(&self, upload: &[u8]) -> bool {
        upload.first() != Some(&0xff)
    }

    fn element(&self, element: &Element) -> bool {
        element.0[0] != 0
    }

    fn region_signature(
        &self,
        admission: &Admission,
        by: &RegionSignature,
        statement: &[u8],
        at: Time,
    ) -> bool {
        let Some(member) = admission.member(by.slot) else { return false };
        let key = boot_key(&member.identity);
        at <= END && by.certificate == key.0 && self.signature(&key, statement, &by.signature)
    }

    fn finish(
        &self,
        upload: &[u8],
        context: &[u8],
        ke1: &[u8],
        ke2: &[u8],
        ke3: &[u8],
    ) -> Option<(Vec<u8>, Signature)> {
        let signature = Signature::try_from(ke3).ok()?;
        let transcript = [ke1, ke2].concat();
        self.success(upload, context, &transcript, &signature).then_some((transcript, signature))
    }

    fn success(&self, upload: &[u8], context: &[u8], transcript: &[u8], signature: &Signature) -> bool {
        let Some(key) = upload.first_chunk().copied().map(PublicKey) else { return false };
        self.signature(&key, &login(context, transcript), signature)
    }
}

/// Documents signed by the fake's root.
pub(super) fn documents(number: u64, attempts: &AttemptPolicy) -> NewDocuments {
    documents_of(number, attempts, 1)
}

/// Documents of a fleet with this number of shards.
pub(super) fn documents_of(number: u64, attempts: &AttemptPolicy, shards: u16) -> NewDocuments {
    let admission = Admission {
        lineage: LINEAGE,
        era: ERA,
        number,
        not_before: Time(0),
        not_after: END,
        threshold: REGIONS / 2 + 1,
        members: (1..=REGIONS)
            .map(|slot| Member {
                region: format!("r{slot}"),
                slot: Slot(slot),
                node: NodeId(u64::from(slot)),
                identity: vec![slot; 91],
                delivery: vec![slot; 32],
            })
            .collect(),
        hash: Hash([0; 32]),
    };
    let policy = Policy {
        lineage: LINEAGE,
        era: ERA,
        number,
        not_before: Time(0),
        not_after: END,
        issuer: "https://issuer.test".into(),
        vault_audience: "vault".into(),
        chatd_audience: "chatd".into(),
        jwks: JwksSource::Inline("{}".into()),
        enrolment_claim: None,
        attempts: attempts.clone(),
        store_ms: STORE_MS,
        ksf_floor: KsfParams { memory_kib: 64, passes: 2, lanes: 1 },
        ksf_ceiling: KsfParams { memory_kib: 256, passes: 4, lanes: 4 },
        token_max_age_ms: 600_000,
        bound_tokens: false,
        shards,
        hash: Hash([0; 32]),
        development: true,
    };
    NewDocuments {
        admission: minicbor::to_vec(admission).unwrap(),
        policy: minicbor::to_vec(policy).unwrap(),
    }
}
