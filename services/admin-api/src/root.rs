//! Answers about the fleet root. The private half appears as ciphertext only.

use serde::{Deserialize, Serialize};

/// The public root that the vault obeys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicRoot {
    /// The root file.
    #[serde(with = "crate::base64_text")]
    pub root: Vec<u8>,
    /// For people to compare.
    pub fingerprint: String,
    /// True if this vault holds the private half.
    pub held: bool,
}

/// The private half, sealed for every other admitted vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedRoots {
    /// One ciphertext for each member.
    #[serde(rename = "for")]
    pub members: Vec<SealedRoot>,
}

/// The private half, sealed to one member's delivery key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedRoot {
    /// The member's slot.
    pub slot: u8,
    /// The member's region.
    #[serde(default)]
    pub region: String,
    /// Ciphertext.
    #[serde(with = "crate::base64_text")]
    pub sealed: Vec<u8>,
}

/// Hands the vault what another vault sealed for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// [`SealedRoot::sealed`] of this vault's slot.
    #[serde(with = "crate::base64_text")]
    pub sealed: Vec<u8>,
}

/// The vault holds the private half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootHeld {
    /// Always true.
    pub held: bool,
}
