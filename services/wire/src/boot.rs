//! Boot keys: Ed25519, in a vault's memory only, certified by its token's identity for at most a day. They sign evaluations,
//! acknowledgements, attestations, receipts and events. A token signature for each would cost more than the rest of the work.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use bkv_core::document::{Admission, BootKey};
use bkv_core::id::{Era, Lineage, NodeId, PublicKey, Slot, Time};
use bkv_core::statement;
use prost::Message as _;

use crate::proto::inner as p;

/// The longest validity of a certificate: 24 h in milliseconds.
pub const MAX_VALIDITY_MS: u64 = 24 * 3600 * 1000;
/// The most bytes of an encoded certificate.
pub const MAX_CERTIFICATE: usize = bkv_core::bounds::CERTIFICATE;

/// Why a boot certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    /// Not protobuf, or a field of the wrong length.
    #[error("boot certificate: the encoding is wrong")]
    Malformed,
    /// It is for another lineage or era.
    #[error("boot certificate: it belongs to another fleet")]
    OtherFleet,
    /// Its slot is not on the admission list, or belongs to another node.
    #[error("boot certificate: the admission list does not have this node in slot {0}")]
    NotAdmitted(Slot),
    /// It is not yet valid, has expired, or is valid for more than a day.
    #[error("boot certificate of slot {0}: not valid at this time, or valid for more than a day")]
    Dates(Slot),
    /// The identity on the admission list did not sign it.
    #[error("boot certificate of slot {0}: not signed by the identity on the admission list")]
    Signature(Slot),
}

/// Everything in a certificate but its signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// The fleet's lineage.
    pub lineage: Lineage,
    /// The fleet's era.
    pub era: Era,
    /// The vault's Raft id.
    pub node: NodeId,
    /// The vault's slot.
    pub slot: Slot,
    /// Number of the admission list in force when it was made.
    pub admission: u64,
    /// The boot key.
    pub key: PublicKey,
    /// Start of its validity, milliseconds since 1970.
    pub not_before: Time,
    /// End of its validity, milliseconds since 1970.
    pub not_after: Time,
}

impl Claims {
    /// The statement that the identity signs (ECDSA P-256 with SHA-256).
    pub fn statement(&self) -> Vec<u8> {
        statement::boot_certificate(
            &self.lineage,
            self.era,
            self.node,
            self.slot,
            self.admission,
            &self.key,
            self.not_before,
            self.not_after,
        )
    }

    /// The certificate with the identity's signature (DER).
    pub fn encode(&self, signature: &[u8]) -> Vec<u8> {
        p::BootCertificate {
            lineage: self.lineage.0.to_vec().into(),
            era: self.era.0,
            node: self.node.0,
            slot: u32::from(self.slot.0),
            admission: self.admission,
            key: self.key.0.to_vec().into(),
            not_before_ms: self.not_before.0,
            not_after_ms: self.not_after.0,
            signature: signature.to_vec().into(),
        }
        .encode_to_vec()
    }
}

/// Checks a certificate against the admission list at a given time. A pure function, because replicas call it while they apply entries.
pub fn verify(certificate: &[u8], admission: &Admission, at: Time) -> Result<BootKey, BootError> {
    let claims = verify_ever(certificate, admission)?;
    if at < claims.not_before || at > claims.not_after {
        return Err(BootError::Dates(claims.slot));
    }
    Ok(BootKey { slot: claims.slot, key: claims.key })
}

/// Checks a certificate against the admission list at no particular time: a vault's signature on what it once had binds it for ever.
pub fn verify_ever(certificate: &[u8], admission: &Admission) -> Result<Claims, BootError> {
    let claims = verify_identity(certificate, admission)?;
    // A certificate made under an older list is valid as long as the current list has the same node and identity in its slot.
    if claims.admission > admission.number {
        return Err(BootError::NotAdmitted(claims.slot));
    }
    Ok(claims)
}

/// Like [`verify_ever`], also if it was made under a newer list. A vault takes appends from a leader that has obeyed a newer list already.
pub fn verify_identity(certificate: &[u8], admission: &Admission) -> Result<Claims, BootError> {
    if certificate.len() > MAX_CERTIFICATE {
        return Err(BootError::Malformed);
    }
    let c = p::BootCertificate::decode(certificate).map_err(|_| BootError::Malformed)?;
    let claims = Claims {
        lineage: Lineage::try_from(&c.lineage[..]).map_err(|_| BootError::Malformed)?,
        era: Era(c.era),
        node: NodeId(c.node),
        slot: Slot(u8::try_from(c.slot).map_err(|_| BootError::Malformed)?),
        admission: c.admission,
        key: PublicKey::try_from(&c.key[..]).map_err(|_| BootError::Malformed)?,
        not_before: Time(c.not_before_ms),
        not_after: Time(c.not_after_ms),
    };
    if claims.lineage != admission.lineage || claims.era != admission.era {
        return Err(BootError::OtherFleet);
    }
    let member = admission
        .member(claims.slot)
        .filter(|m| m.node == claims.node)
        .ok_or(BootError::NotAdmitted(claims.slot))?;
    if claims.not_after.0.saturating_sub(claims.not_before.0) > MAX_VALIDITY_MS {
        return Err(BootError::Dates(claims.slot));
    }
    let point = member.identity.last_chunk::<65>().ok_or(BootError::NotAdmitted(claims.slot))?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(&claims.statement(), &c.signature)
        .map_err(|_| BootError::Signature(claims.slot))?;
    Ok(claims)
}

#[cfg(test)]
#[path = "boot_test.rs"]
mod boot_test;
