//! What a module can do. The probe tries each operation and assumes nothing from the module's name.

use serde::{Deserialize, Serialize};

/// An operation that a vault needs or can use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Capability {
    /// Makes EC P-256 keys inside the token and signs a given digest. Another library verifies the signature.
    EcdsaP256,
    /// Makes generic secrets inside the token and computes HMAC-SHA-256.
    HmacSha256,
    /// Makes generic secrets inside the token and computes HMAC-SHA-512.
    HmacSha512,
    /// Stores private data objects.
    DataObjects,
}

/// What happens to a key that is destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Destruction {
    /// A search no longer finds it. A probe can't see whether the manufacturer could still restore it.
    Immediate,
    /// A search still finds it after its destruction, or the service behind the module can restore it for some time.
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
    /// Manufacturer and model from `CK_TOKEN_INFO`, trimmed.
    pub token_model: String,
    /// `CK_TOKEN_INFO.firmwareVersion`.
    pub firmware_version: String,
    /// What worked, in the order of the probe.
    pub can: Vec<Capability>,
    /// What did not work, with the module's error.
    pub cannot: Vec<Cannot>,
    /// What happens to destroyed keys.
    pub destruction: Destruction,
}

/// Something that did not work.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cannot {
    /// The operation.
    pub capability: Capability,
    /// The module's error, or what is wrong with its result.
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
