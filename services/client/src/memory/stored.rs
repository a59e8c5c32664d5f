//! The JSON of [`Remembered`]: `memory.json`.

use std::collections::BTreeMap;

use bkv_core::id::{AccountId, PublicKey};
use bkv_stream::Known;
use serde::{Deserialize, Serialize};

use super::Remembered;

/// The number of the file's format.
pub(super) const FORMAT: u32 = 1;

#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Stored {
    /// [`check_number`](super::check_number) reads it.
    format: u32,
    lineage: String,
    admission: u64,
    policy: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    backups: BTreeMap<String, Newest>,
    // The format before `backups`: one backup of one account, no `manifest_hash` if there was none.
    #[serde(skip_serializing_if = "String::is_empty")]
    manifest_account: String,
    #[serde(skip_serializing_if = "is_zero")]
    manifest_sequence: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    manifest_hash: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Newest {
    sequence: u64,
    hash: String,
}

/// A field that is not 64 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not 64 hexadecimal digits")]
pub(super) struct NotHex(&'static str);

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn bytes(field: &'static str, text: &str) -> Result<[u8; 32], NotHex> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| NotHex(field))?;
    Ok(bytes)
}

impl TryFrom<Stored> for Remembered {
    type Error = NotHex;

    fn try_from(stored: Stored) -> Result<Self, NotHex> {
        let Stored {
            format: _,
            lineage,
            admission,
            policy,
            backups,
            manifest_account,
            manifest_sequence,
            manifest_hash,
        } = stored;
        let backups = backups
            .into_iter()
            .map(|(owner, newest)| {
                let known = Known { sequence: newest.sequence, hash: bytes("hash", &newest.hash)? };
                Ok((PublicKey(bytes("backups", &owner)?), known))
            })
            .collect::<Result<_, NotHex>>()?;
        let unkeyed = if manifest_hash.is_empty() {
            None
        } else {
            let account = AccountId(bytes("manifest_account", &manifest_account)?);
            Some((
                account,
                Known { sequence: manifest_sequence, hash: bytes("manifest_hash", &manifest_hash)? },
            ))
        };
        Ok(Self { lineage, admission, policy, backups, unkeyed })
    }
}

impl From<Remembered> for Stored {
    fn from(remembered: Remembered) -> Self {
        let Remembered { lineage, admission, policy, backups, unkeyed } = remembered;
        let newest = |k: Known| Newest { sequence: k.sequence, hash: hex::encode(k.hash) };
        let stored = Self {
            format: FORMAT,
            lineage,
            admission,
            policy,
            backups: backups.into_iter().map(|(owner, k)| (owner.to_string(), newest(k))).collect(),
            ..Self::default()
        };
        match unkeyed {
            None => stored,
            Some((account, known)) => Self {
                manifest_account: account.to_string(),
                manifest_sequence: known.sequence,
                manifest_hash: hex::encode(known.hash),
                ..stored
            },
        }
    }
}
