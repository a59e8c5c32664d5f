//! The token's public parts, which go on the admission list, and what the token can do.

use serde::{Deserialize, Serialize};

/// Answer of `GET /v1/token`. The person who signs the admission list compares the fingerprints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultToken {
    /// The vault's region, as configured.
    pub region: String,
    /// The vault's Raft node id.
    pub node: u64,
    /// SPKI DER of the identity key.
    #[serde(with = "crate::base64_text")]
    pub identity: Vec<u8>,
    /// HPKE public key of the vault.
    #[serde(with = "crate::base64_text")]
    pub delivery: Vec<u8>,
    /// Fingerprints of both keys.
    #[serde(default)]
    pub fingerprints: Fingerprints,
    /// What the token did when the vault tried it.
    #[serde(default)]
    pub capabilities: Option<TokenCapabilities>,
}

/// Fingerprints for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fingerprints {
    /// Of the identity key. The status leaves it out: reading the key would ask the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Of the delivery key.
    pub delivery: String,
}

/// The result of trying a PKCS#11 module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenCapabilities {
    /// `CK_INFO.libraryDescription`, trimmed.
    pub library: String,
    /// `CK_INFO.libraryVersion`, such as `2.6`.
    pub library_version: String,
    /// `CK_INFO.cryptokiVersion`.
    pub cryptoki_version: String,
    /// Manufacturer and model of `CK_TOKEN_INFO`, trimmed.
    pub token_model: String,
    /// `CK_TOKEN_INFO.firmwareVersion`.
    pub firmware_version: String,
    /// What worked.
    pub can: Vec<Capability>,
    /// What failed.
    pub cannot: Vec<Cannot>,
    /// What became of a key that the vault destroyed.
    pub destruction: Destruction,
}

/// Something that failed when the vault tried it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cannot {
    /// What was tried.
    pub capability: Capability,
    /// The module's error.
    pub why: String,
}

/// One thing that a module may be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Capability {
    /// Makes EC P-256 keys inside and signs with them.
    EcdsaP256,
    /// Makes generic secrets inside and computes HMAC-SHA-256.
    HmacSha256,
    /// Makes generic secrets inside and computes HMAC-SHA-512.
    HmacSha512,
    /// Stores private data objects that last.
    DataObjects,
    /// A capability that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Capability {
    /// Its name in JSON and in the resource's status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "EcdsaP256",
            Self::HmacSha256 => "HmacSha256",
            Self::HmacSha512 => "HmacSha512",
            Self::DataObjects => "DataObjects",
            Self::Unknown => "Unknown",
        }
    }
}

/// What becomes of a key that is destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destruction {
    /// The module no longer finds it.
    Immediate,
    /// The module still finds it.
    Delayed,
    /// The vault could not try.
    #[serde(other)]
    Unknown,
}
