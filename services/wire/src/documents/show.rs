//! What a document says, before anybody has signed it: for the person who is about to.

use bkv_core::document::{Admission, Policy};
use bkv_core::id::Hash;
use prost::Message as _;

use super::{DocumentError, Kind, MAX_DOCUMENT, body};
use crate::proto::documents as p;

/// Read, not verified.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Which of the two.
    pub kind: Kind,
    /// What it says.
    pub content: Content,
    /// How many signatures it bears, good or not.
    pub signatures: usize,
}

/// One of the two.
#[derive(Clone, Debug)]
pub enum Content {
    /// Which vaults exist.
    Admission(Admission),
    /// What they enforce.
    Policy(Policy),
}

/// Reads a document whoever signed it. Only for showing: nothing may obey it.
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
