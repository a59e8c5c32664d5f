//! The checks of signatures and encodings that the state machine calls. `bkv-wire` implements them. All replicas must answer alike, so an
//! implementation is a pure function of its arguments.

use crate::document::{Admission, Documents, NewDocuments};
use crate::id::{Element, Era, Lineage, PublicKey, Signature, Time};
use crate::signature::RegionSignature;

/// Pure checks over bytes.
pub trait Verifier {
    /// Parses both documents and checks them: signed by the pinned root, of this lineage and era, valid at `at`, fit for each other.
    /// The state machine itself compares their numbers with those in force.
    fn documents(&self, lineage: &Lineage, era: Era, new: &NewDocuments, at: Time) -> Option<Documents>;

    /// The OPAQUE registration response to this request under z. None if the request is malformed.
    fn registration_response(&self, z: &[u8; 32], request: &[u8]) -> Option<Vec<u8>>;

    /// Ed25519, strict (RFC 8032 with canonical encodings, no small-order points).
    fn signature(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool;

    /// Checks that the upload has the suite's format, and that its client key is canonical and not of small order.
    fn upload(&self, upload: &[u8]) -> bool;

    /// Checks that this is the canonical encoding of an element other than the identity.
    fn element(&self, element: &Element) -> bool;

    /// Checks that the slot's identity on `admission` signed the certificate, that the certificate is valid at `at`, and that its boot key signed
    /// `statement`.
    fn region_signature(
        &self,
        admission: &Admission,
        signature: &RegionSignature,
        statement: &[u8],
        at: Time,
    ) -> bool;

    /// Checks the client's signature in KE3 under the client key of `upload`, over the transcript of KE1 and KE2 in `context`.
    /// Returns (transcript, signature), which the account keeps as the proof. The transcript is KE1 ‖ KE2 without the server's signature.
    fn finish(
        &self,
        upload: &[u8],
        context: &[u8],
        ke1: &[u8],
        ke2: &[u8],
        ke3: &[u8],
    ) -> Option<(Vec<u8>, Signature)>;

    /// Checks the proof of an earlier success: `signature` under the client key of `upload` over `context` and `transcript`.
    fn success(&self, upload: &[u8], context: &[u8], transcript: &[u8], signature: &Signature) -> bool;
}
