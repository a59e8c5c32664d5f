//! The checks that the state machine needs, made with the suite's cryptography and the pinned root.

use bkv_core::document::{Admission, Documents, NewDocuments};
use bkv_core::id::{Element, Era, Lineage, PublicKey, Signature, Time};
use bkv_core::signature::RegionSignature;
use bkv_core::verify::Verifier;
use bkv_crypto::{ed25519, opaque, toprf};

use crate::boot;
use crate::documents::{self, DocumentError, Lift, Root};

/// [`Verifier`] for a fleet with this root. A pure function of its arguments and the root.
#[derive(Clone, Debug)]
pub struct WireVerifier {
    root: Root,
}

impl WireVerifier {
    /// A verifier for the pinned root.
    pub const fn new(root: Root) -> Self {
        Self { root }
    }

    /// Checks that the root has signed this lift.
    pub fn lift(&self, signed: &[u8]) -> Result<Lift, DocumentError> {
        documents::lift(&self.root, signed)
    }
}

impl Verifier for WireVerifier {
    fn documents(&self, lineage: &Lineage, era: Era, new: &NewDocuments, at: Time) -> Option<Documents> {
        if *lineage != self.root.lineage() || era != self.root.era {
            return None;
        }
        documents::bundle(&self.root, &new.admission, &new.policy, Some(at)).ok()
    }

    fn registration_response(&self, z: &[u8; 32], request: &[u8]) -> Option<Vec<u8>> {
        opaque::Server::new(z).ok()?.register(request).ok()
    }

    fn upload(&self, upload: &[u8]) -> bool {
        opaque::check_upload(upload).is_ok()
    }

    fn signature(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        ed25519::verify(&key.0, message, &signature.0)
    }

    fn element(&self, element: &Element) -> bool {
        toprf::is_element(&element.0)
    }

    fn region_signature(
        &self,
        admission: &Admission,
        signature: &RegionSignature,
        statement: &[u8],
        at: Time,
    ) -> bool {
        boot::verify(&signature.certificate, admission, at).is_ok_and(|boot| {
            boot.slot == signature.slot && ed25519::verify(&boot.key.0, statement, &signature.signature.0)
        })
    }

    fn finish(
        &self,
        upload: &[u8],
        context: &[u8],
        ke1: &[u8],
        ke2: &[u8],
        ke3: &[u8],
    ) -> Option<(Vec<u8>, Signature)> {
        opaque::verify_ke3_signature(upload, context, ke1, ke2, ke3).ok()?;
        let (transcript, signature) = opaque::success_proof(ke1, ke2, ke3).ok()?;
        Some((transcript, Signature(signature)))
    }

    fn success(&self, upload: &[u8], context: &[u8], transcript: &[u8], signature: &Signature) -> bool {
        opaque::verify_success_proof(upload, context, transcript, &signature.0).is_ok()
    }
}
