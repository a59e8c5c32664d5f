//! The checks of signatures and encodings that the state machine calls. `bkv-wire` implements them. All replicas must answer alike, so an
//! implementation is a pure function of its arguments.

use crate::command::{Acknowledgement, NewDocuments};
use crate::document::{Admission, Documents};
use crate::id::{Element, Era, Lineage, PublicKey, Signature, Time};

/// Pure checks over bytes.
pub trait Verifier {
    /// Reads and checks both documents: signed by the pinned root, of this lineage and era, valid at `at`, fit for each other.
    /// The state machine itself compares their numbers with those in force.
    fn documents(&self, lineage: &Lineage, era: Era, new: &NewDocuments, at: Time) -> Option<Documents>;

    /// The OPAQUE registration response that z gives to this request; None if the request is malformed.
    fn registration_response(&self, z: &[u8; 32], request: &[u8]) -> Option<Vec<u8>>;

    /// Ed25519, strict (RFC 8032 with canonical encodings, no small-order points).
    fn signature(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool;

    /// Has the upload the suite's shape, and a client key under which a signature means something (canonical, not of small order)?
    fn upload(&self, upload: &[u8]) -> bool;

    /// Is this a canonical encoding of an element other than the identity?
    fn element(&self, element: &Element) -> bool;

    /// The acknowledgement's certificate is by the slot's identity on `admission`, valid at `at`, and its boot key signed `statement`.
    fn acknowledgement(
        &self,
        admission: &Admission,
        ack: &Acknowledgement,
        statement: &[u8],
        at: Time,
    ) -> bool;

    /// KE3's client signature under the client key of `upload`, over the transcript of KE1 and KE2 in `context`.
    /// Returns (transcript, signature) to keep as the proof: transcript = KE1 ‖ KE2 without the server's signature.
    fn finish(
        &self,
        upload: &[u8],
        context: &[u8],
        ke1: &[u8],
        ke2: &[u8],
        ke3: &[u8],
    ) -> Option<(Vec<u8>, Signature)>;

    /// The kept proof of an earlier success: `signature` under the client key of `upload` over `context` and `transcript`.
    fn success(&self, upload: &[u8], context: &[u8], transcript: &[u8], signature: &Signature) -> bool;
}
