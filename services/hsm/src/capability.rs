//! What a module can do, found by trying. Nothing is assumed from a module's name.

use serde::{Deserialize, Serialize};

/// One thing that a module may be able to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Capability {
    /// EC P-256 keys made inside, ECDSA over a given digest; the signature verified by another library.
    EcdsaP256,
    /// Generic secrets made inside, HMAC-SHA-256.
    HmacSha256,
    /// Generic secrets made inside, HMAC-SHA-512.
    HmacSha512,
    /// Private data objects that last: room for an anchor.
    DataObjects,
}

/// What happens to a key that is destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Destruction {
    /// A search finds it no longer, at once. A probe can't see whether the maker could still restore it.
    Immediate,
    /// A search still finds it after its destruction.
    Delayed,
    /// The probe could not try it.
    Unknown,
}

/// The result of a probe.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// `CK_INFO.libraryDescription`, trimmed.
    pub library: String,
    /// `CK_INFO.libraryVersion`, such as `2.6`.
    pub library_version: String,
    /// `CK_INFO.cryptokiVersion`.
    pub cryptoki_version: String,
    /// Maker and model by `CK_TOKEN_INFO`, trimmed.
    pub token_model: String,
    /// `CK_TOKEN_INFO.firmwareVersion`.
    pub firmware_version: String,
    /// What worked, in order.
    pub can: Vec<Capability>,
    /// What did not work, with the module's error.
    pub cannot: Vec<Cannot>,
    /// What happens to destroyed keys.
    pub destruction: Destruction,
}

/// Something that did not work.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cannot {
    /// What.
    pub capability: Capability,
    /// The module's error.
    pub why: String,
}

impl Capabilities {
    /// True if the module has everything that a vault needs.
    pub fn serves(&self) -> bool {
        [Capability::EcdsaP256, Capability::HmacSha256, Capability::HmacSha512]
            .iter()
            .all(|c| self.can.contains(c))
    }
}
