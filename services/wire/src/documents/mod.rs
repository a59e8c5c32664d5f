//! The two documents that the fleet root signs, admission list and policy, and the checks before a vault or client obeys one.
//!
//! The signed bytes are the body as sent, so no canonical form is needed. The signature also covers the document's kind, so that an attacker
//! can't pass one kind off as the other.

mod body;
mod error;
mod handover;
mod lift;
mod root;
mod show;
mod signing;

pub use body::{AdmissionDraft, PolicyDraft, write_admission, write_policy};
pub use error::DocumentError;
pub use handover::{HandoverError, open_root, seal_root};
pub use lift::{Lift, ShownLift, lift, show_lift, sign_lift};
pub use root::Root;
pub use show::{Content, Shown, show, show_to_sign};
pub use signing::{RootKey, add_signature, fingerprint, unsigned};

use bkv_core::document::{Admission, Documents, Policy};
use bkv_core::hash::{framed, tagged};
use bkv_core::id::{PublicKey, Signature, Time};
use prost::Message as _;

use crate::proto::documents as p;

/// The number of the present format of the root file, the admission list and the policy. They do not contain it: a reader ignores fields that it does not know, so a field may be
/// added without a new number. A field that changes its meaning, or is left out, needs one, and another label in the signed statement.
pub const FORMAT: u32 = 1;

/// The most bytes of a signed document.
pub const MAX_DOCUMENT: usize = bkv_core::bounds::DOCUMENT;

/// The kind of a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The admission list: which vaults exist.
    Admission,
    /// The policy: which rules the vaults enforce.
    Policy,
}

impl Kind {
    /// Its name in the document and in the signed statement.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::Policy => "policy",
        }
    }
}

/// The statement that the root signs: the kind, and the body byte for byte.
fn statement(kind: &str, body: &[u8]) -> Vec<u8> {
    framed("bkv/document/1", &[kind.as_bytes(), body])
}

/// Checks signatures, then reads the admission list. `at` must lie within its dates. None skips that check, to show an expired list.
pub fn admission(root: &Root, signed: &[u8], at: Option<Time>) -> Result<Admission, DocumentError> {
    let body = verified(root, Kind::Admission.name(), signed)?;
    let list = body::read_admission(&body, tagged("bkv/document-hash/1", &[&body]))?;
    belongs(root, Kind::Admission, &list.lineage, list.era, list.not_before, list.not_after, at)?;
    Ok(list)
}

/// Checks signatures, then reads the policy.
pub fn policy(root: &Root, signed: &[u8], at: Option<Time>) -> Result<Policy, DocumentError> {
    let body = verified(root, Kind::Policy.name(), signed)?;
    let policy = body::read_policy(&body, tagged("bkv/document-hash/1", &[&body]))?;
    belongs(root, Kind::Policy, &policy.lineage, policy.era, policy.not_before, policy.not_after, at)?;
    // A development policy has no floor for key stretching. Clients of every other fleet rely on that floor.
    if policy.development && !root.development {
        return Err(error::field(
            "development",
            "only a development root allows it; write the policy again without it",
        ));
    }
    Ok(policy)
}

/// Checks and reads both documents: the bundle that clients get.
pub fn bundle(
    root: &Root,
    admission_signed: &[u8],
    policy_signed: &[u8],
    at: Option<Time>,
) -> Result<Documents, DocumentError> {
    Ok(Documents {
        admission: admission(root, admission_signed, at)?,
        policy: policy(root, policy_signed, at)?,
        admission_signed: admission_signed.to_vec(),
        policy_signed: policy_signed.to_vec(),
    })
}

fn verified(root: &Root, kind: &'static str, signed: &[u8]) -> Result<bytes::Bytes, DocumentError> {
    if signed.len() > MAX_DOCUMENT {
        return Err(DocumentError::TooLong { len: signed.len(), max: MAX_DOCUMENT });
    }
    let doc = p::SignedDocument::decode(signed)
        .map_err(|e| DocumentError::Malformed { what: "document", why: e.to_string() })?;
    if doc.kind != kind {
        return Err(DocumentError::Kind { want: kind, got: kind_for_people(&doc.kind) });
    }
    let message = statement(kind, &doc.body);
    // Count distinct keys only: two copies of one key's signature must not count as two.
    let mut good: Vec<PublicKey> = Vec::new();
    for s in &doc.signatures {
        let (Ok(key), Ok(signature)) =
            (PublicKey::try_from(&s.key[..]), Signature::try_from(&s.signature[..]))
        else {
            continue;
        };
        if root.keys.contains(&key)
            && !good.contains(&key)
            && bkv_crypto::ed25519::verify(&key.0, &message, &signature.0)
        {
            good.push(key);
        }
    }
    if good.len() < usize::from(root.threshold) {
        return Err(DocumentError::Signatures { kind, want: root.threshold, got: good.len() });
    }
    Ok(doc.body)
}

/// The kind that a document names, for an error that reaches a terminal.
fn kind_for_people(kind: &str) -> String {
    kind.chars().take(32).flat_map(char::escape_default).collect()
}

fn belongs(
    root: &Root,
    kind: Kind,
    lineage: &bkv_core::id::Lineage,
    era: bkv_core::id::Era,
    not_before: Time,
    not_after: Time,
    at: Option<Time>,
) -> Result<(), DocumentError> {
    if *lineage != root.lineage() || era != root.era {
        return Err(DocumentError::OtherFleet { kind: kind.name() });
    }
    match at {
        Some(t) if t < not_before => Err(DocumentError::NotYet { kind: kind.name(), from: not_before }),
        Some(t) if t > not_after => Err(DocumentError::Expired { kind: kind.name(), since: not_after }),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) use body::P256_SPKI;

#[cfg(test)]
mod documents_test;
