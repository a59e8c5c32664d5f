//! Decodes a document without checking its signatures, to show its content to the person who is about to sign it.

use bkv_core::document::{Admission, Policy};
use bkv_core::id::Hash;
use bytes::Bytes;
use prost::Message as _;

use super::{DocumentError, Kind, MAX_DOCUMENT, body, kind_for_people};
use crate::proto::documents as p;

/// A decoded document whose signatures are not verified.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The kind of the document.
    pub kind: Kind,
    /// The document's content.
    pub content: Content,
    /// The number of signatures, valid or not.
    pub signatures: usize,
    /// The bytes that the root signs.
    pub body: Bytes,
}

/// The content of either kind.
#[derive(Clone, Debug)]
pub enum Content {
    /// An admission list.
    Admission(Admission),
    /// A policy.
    Policy(Policy),
}

impl Content {
    /// The document's number.
    pub const fn number(&self) -> u64 {
        match self {
            Self::Admission(list) => list.number,
            Self::Policy(policy) => policy.number,
        }
    }
}

/// Decodes a document without checking signatures. Use it only for display: no program may obey the result.
pub fn show(document: &[u8]) -> Result<Shown, DocumentError> {
    if document.len() > MAX_DOCUMENT {
        return Err(DocumentError::TooLong { len: document.len(), max: MAX_DOCUMENT });
    }
    let doc = p::SignedDocument::decode(document)
        .map_err(|e| DocumentError::Malformed { what: "document", why: e.to_string() })?;
    let none = Hash([0; 32]);
    let (kind, content) = match doc.kind.as_str() {
        "admission" => (Kind::Admission, Content::Admission(body::read_admission(&doc.body, none)?)),
        "policy" => (Kind::Policy, Content::Policy(body::read_policy(&doc.body, none)?)),
        other => {
            return Err(DocumentError::Kind { want: "admission or policy", got: kind_for_people(other) });
        }
    };
    Ok(Shown { kind, content, signatures: doc.signatures.len(), body: doc.body })
}

/// As [`show`]. Refuses a document whose content is not all that is in it, such as a field that a later version knows: whoever signs it would sign what is
/// not shown.
pub fn show_to_sign(document: &[u8]) -> Result<Shown, DocumentError> {
    let shown = show(document)?;
    let known = match &shown.content {
        Content::Admission(list) => body::write_admission(list)?,
        Content::Policy(policy) => body::write_policy(policy)?,
    };
    if known == shown.body { Ok(shown) } else { Err(DocumentError::NotWhole { kind: shown.kind.name() }) }
}
