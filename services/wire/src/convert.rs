//! Conversions between core's values and messages.

use bkv_core::id::{OperationId, Signature, Slot, Time, WrongLength};
use bkv_core::outcome::Refusal;
use bkv_core::record::SealedShare;
use bkv_core::signature::{OwnerSignature, RegionSignature};
use bkv_core::statement::Attested;
use bytes::Bytes;

use crate::proto::inner as p;
use crate::proto::inner::refused::Code;

/// A field of a message can't become a value of core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The field is too short or too long.
    #[error(transparent)]
    Length(#[from] WrongLength),
    /// The number is too large for a slot.
    #[error("slot {0} is too large: at most 255 is possible")]
    Slot(u32),
}

fn slot(number: u32) -> Result<Slot, FieldError> {
    u8::try_from(number).map(Slot).map_err(|_| FieldError::Slot(number))
}

impl TryFrom<&p::SealedShare> for SealedShare {
    type Error = FieldError;
    fn try_from(s: &p::SealedShare) -> Result<Self, FieldError> {
        Ok(Self { slot: slot(s.slot)?, enc: s.enc.to_vec(), ct: s.ct.to_vec() })
    }
}

impl TryFrom<&p::Acknowledgement> for RegionSignature {
    type Error = FieldError;
    fn try_from(a: &p::Acknowledgement) -> Result<Self, FieldError> {
        Ok(Self {
            slot: slot(a.slot)?,
            certificate: a.certificate.to_vec(),
            signature: Signature::try_from(&a.signature[..])?,
        })
    }
}

impl TryFrom<&p::Permit> for RegionSignature {
    type Error = FieldError;
    fn try_from(p: &p::Permit) -> Result<Self, FieldError> {
        Ok(Self {
            slot: slot(p.slot)?,
            certificate: p.certificate.to_vec(),
            signature: Signature::try_from(&p.signature[..])?,
        })
    }
}

impl TryFrom<&p::OwnerSignature> for OwnerSignature {
    type Error = FieldError;
    fn try_from(o: &p::OwnerSignature) -> Result<Self, FieldError> {
        Ok(Self {
            operation: OperationId::try_from(&o.operation[..])?,
            expires: Time(o.expires_ms),
            signature: Signature::try_from(&o.signature[..])?,
        })
    }
}

impl p::Attestation {
    /// The attestation with the certificate and signature of the region's boot key.
    pub fn new(a: &Attested, certificate: Bytes, signature: Bytes) -> Self {
        Self {
            nonce: a.nonce.to_vec().into(),
            slot: u32::from(a.slot.0),
            state: a.state as u32,
            generation: a.generation.0,
            ordinal: a.ordinal.0,
            success: a.success.0,
            tries_left: a.tries_left,
            next_allowed_ms: a.next_allowed.0,
            record: a.record.0.to_vec().into(),
            index: a.index,
            writers: a.writers.iter().map(p::Writer::from).collect(),
            retired: a.retired.iter().map(p::Retired::from).collect(),
            owner: a.owner.0.to_vec().into(),
            lifetime_failures: a.lifetime_failures,
            certificate,
            signature,
            time_ms: a.time.0,
        }
    }
}

impl From<Refusal> for p::Refused {
    fn from(why: Refusal) -> Self {
        let (code, until_ms) = match why {
            Refusal::NotInitialised | Refusal::Documents | Refusal::Version | Refusal::Elsewhere => {
                (Code::Unavailable, 0)
            }
            Refusal::NoKey => (Code::NoKey, 0),
            Refusal::Destroyed => (Code::Destroyed, 0),
            Refusal::Deleted => (Code::Deleted, 0),
            Refusal::Locked => (Code::Locked, 0),
            Refusal::Wait(t) => (Code::Wait, t.0),
            Refusal::LastTryOpen(t) => (Code::LastTryOpen, t.0),
            Refusal::LastTry => (Code::LastTry, 0),
            Refusal::Permits => (Code::TooFewRegions, 0),
            Refusal::Exhausted => (Code::Exhausted, 0),
            Refusal::NoAttempt => (Code::NoAttempt, 0),
            Refusal::Conflict => (Code::Conflict, 0),
            Refusal::Stale => (Code::Stale, 0),
            Refusal::Proof => (Code::Proof, 0),
            Refusal::Owner => (Code::Owner, 0),
            Refusal::Expired => (Code::Expired, 0),
            Refusal::Record => (Code::Record, 0),
            Refusal::OtherLedger => (Code::OtherLedger, 0),
            Refusal::OldLedger => (Code::OldLedger, 0),
            Refusal::TooManyWriters => (Code::TooManyWriters, 0),
            Refusal::VTooSoon(t) => (Code::VTooSoon, t.0),
            Refusal::Element => (Code::Element, 0),
            Refusal::TooMany => (Code::Busy, 0),
        };
        Self { code: code.into(), until_ms, detail: why.to_string(), padding: Bytes::new() }
    }
}
