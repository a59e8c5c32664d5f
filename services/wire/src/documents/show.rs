//! Decodes an unsigned document, to show its content to the person who is about to sign it.

use bkv_core::document::{Admission, Policy};
use bkv_core::id::Hash;
use prost::Message as _;

use super::{DocumentError, Kind, MAX_DOCUMENT, body};
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
}

/// The content of either kind.
#[derive(Clone, Debug)]
pub enum Content {
    /// An admission list.
    Admission(Admission),
    /// A policy.
    Policy(Policy),
}

/// Decodes a document without checking signatures. Use it only for display: no program may obey the result.
pub fn show(document: &[u8]) -> Result<Shown, DocumentError> {
    if document.len() > MAX_DOCUMENT {
        return Err(DocumentError::TooLong { len: document.len(), max: MAX_DOCUMENT });
    }
    let doc = p::SignedDocument::decode(document)
        .map_err(|e| DocumentError::Malformed { what: "document", why: e.to_string() })?;
    let signatures = doc.signatures.len();
    let none = Hash([0; 32]);
    match doc.kind.as_str() {
        "admission" => Ok(Shown {
            kind: Kind::Admission,
            content: Content::Admission(body::read_admission(&doc.body, none)?),
            signatures,
        }),
        "policy" => Ok(Shown {
            kind: Kind::Policy,
            content: Content::Policy(body::read_policy(&doc.body, none)?),
            signatures,
        }),
        other => {
            Err(DocumentError::Kind { want: "admission or policy", got: other.chars().take(32).collect() })
        }
    }
}
