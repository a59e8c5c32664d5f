//! Names of the keys in a token. Each label contains the vault's name, so that a vault refuses another vault's token. Nothing here touches the
//! token.

use std::fmt;

/// The longest vault name, in bytes. Some modules store short labels only.
const LONGEST_NAME: usize = 64;

/// A vault's name, such as `demo/eu-west`: parts of `[A-Za-z0-9._-]`, joined by `/`, at most 64 bytes in all.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VaultName(String);

/// A string that can't be a vault's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a vault name: use 1 to 64 of A-Z a-z 0-9 . _ -, in parts joined by '/', such as 'demo/eu-west'"
)]
pub struct BadVaultName(pub String);

impl VaultName {
    /// Refuses a string that is not a vault's name.
    pub fn new(name: &str) -> Result<Self, BadVaultName> {
        let part_ok = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if name.len() <= LONGEST_NAME && name.split('/').all(part_ok) {
            Ok(Self(name.to_owned()))
        } else {
            Err(BadVaultName(name.chars().take(2 * LONGEST_NAME).collect()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VaultName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key of the vault's token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyName {
    /// EC P-256, ECDSA: the vault's identity.
    Identity,
    /// 64-byte generic secret, HMAC-SHA-512: pads that mask the secrets of records.
    Mask,
    /// 32-byte generic secret, HMAC-SHA-256: data keys of one storage epoch.
    Epoch(u64),
    /// The short-lived keys of the capability probe.
    Probe,
}

impl KeyName {
    /// The object's `CKA_LABEL`: `bkv/<vault>/identity`, `…/mask`, `…/epoch-<n>`.
    pub fn label(self, vault: &VaultName) -> String {
        format!("bkv/{vault}/{self}")
    }

    /// The object's `CKA_ID`: the first 20 bytes of SHA-256("bkv/key-id/1" ‖ label). Public and private part have the same id.
    pub fn id(self, vault: &VaultName) -> Vec<u8> {
        let mut input = b"bkv/key-id/1".to_vec();
        input.extend_from_slice(self.label(vault).as_bytes());
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &input);
        digest.as_ref().iter().copied().take(20).collect()
    }

    /// Parses a label. Returns `None` if it has not our form.
    pub fn parse_label(label: &str) -> Option<(VaultName, Self)> {
        let (vault, key) = label.strip_prefix("bkv/")?.rsplit_once('/')?;
        let vault = VaultName::new(vault).ok()?;
        let key = match key {
            "identity" => Self::Identity,
            "mask" => Self::Mask,
            "probe" => Self::Probe,
            other => {
                let digits = other.strip_prefix("epoch-")?;
                let number: u64 = digits.parse().ok()?;
                // Accept one spelling per epoch: '+7' and '007' would be other objects with the same number.
                if number.to_string() != digits {
                    return None;
                }
                Self::Epoch(number)
            }
        };
        Some((vault, key))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("identity"),
            Self::Mask => f.write_str("mask"),
            Self::Probe => f.write_str("probe"),
            Self::Epoch(number) => write!(f, "epoch-{number}"),
        }
    }
}

#[cfg(test)]
#[path = "keys_test.rs"]
mod tests;
