//! Answers about the two signed documents, and about making the fleet.

use bkv_wire::documents::Kind;
use serde::{Deserialize, Serialize};

/// A signed document: the one in force, or one that the vault has just signed with an in-fleet root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The document with its signatures.
    #[serde(with = "crate::base64_text")]
    pub signed: Vec<u8>,
}

/// The vault took a signed document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Which of the two, as in the path.
    pub kind: String,
    /// The document's number.
    pub number: u64,
}

/// The fleet is made: every shard knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetMade {
    /// The fleet's id, 32 hexadecimal digits.
    pub fleet: String,
    /// Raft groups.
    pub shards: usize,
}

/// The vault has ended a halt or quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifted {
    /// Always true.
    pub lifted: bool,
}

/// The vault gives up leadership of every shard that it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteppingDown {
    /// Always true.
    pub stepping_down: bool,
}

/// The kind of document that has this name in a path or query.
pub fn kind_of(name: &str) -> Option<Kind> {
    [Kind::Admission, Kind::Policy].into_iter().find(|k| k.name() == name)
}
