//! `device.json`: the key of this device, the key's account, the series of its backups.

use bkv_client::{AccountId, BackupKey, KeyName, Lineage};
use bkv_stream::Known;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::exit::{Exit, Failure, Outcome};

/// Where else the key exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// In the vault, under a password.
    Password,
    /// On paper, as 64 digits.
    Digits,
}

/// The number of the format of `device.json`.
pub(super) const FORMAT: u32 = 1;

/// Files of the first format may have no number.
const fn first() -> u32 {
    1
}

/// The part of `device.json` that all formats have.
#[derive(Deserialize)]
struct Numbered {
    #[serde(default = "first")]
    format: u32,
}

/// `device.json`.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    #[serde(default = "first")]
    format: u32,
    #[zeroize(skip)]
    pub mode: Mode,
    key: String,
    /// The account that backups name: the account's pseudonym, or one derived from the digits.
    pub account: String,
    pub lineage: String,
    /// Of this device's backups.
    pub series: String,
    /// Earlier versions kept the newest backup here. It is read, and written to the memory instead.
    #[serde(default, skip_serializing)]
    sequence: u64,
    #[serde(default, skip_serializing)]
    hash: String,
}

impl Kept {
    pub(crate) fn new(
        mode: Mode,
        key: &BackupKey,
        account: &[u8; 32],
        lineage: &[u8; 32],
        series: [u8; 16],
    ) -> Self {
        Self {
            format: FORMAT,
            mode,
            key: hex::encode(key.as_bytes()),
            account: hex::encode(account),
            lineage: hex::encode(lineage),
            series: hex::encode(series),
            sequence: 0,
            hash: String::new(),
        }
    }

    /// Reads `device.json`. A file of a newer program is not reported as broken.
    pub(super) fn read(json: &[u8]) -> Outcome<Self> {
        let Numbered { format } = serde_json::from_slice(json).map_err(|_| broken("device.json"))?;
        if format != FORMAT {
            let what = format!("device.json has format {format}, and this program knows format {FORMAT}");
            return Err(
                Failure::new(Exit::Config, what).remedy("Use the `bkv` that wrote it, or a newer one.")
            );
        }
        let kept: Self = serde_json::from_slice(json).map_err(|_| broken("device.json"))?;
        kept.check()?;
        Ok(kept)
    }

    pub(crate) fn key(&self) -> Outcome<BackupKey> {
        Ok(BackupKey::from_bytes(&*bytes("key", &self.key)?))
    }

    pub(crate) fn account(&self) -> Outcome<[u8; 32]> {
        bytes("account", &self.account).map(|b| *b)
    }

    pub(crate) fn lineage(&self) -> Outcome<[u8; 32]> {
        bytes("lineage", &self.lineage).map(|b| *b)
    }

    pub(crate) fn series(&self) -> Outcome<[u8; 16]> {
        let bytes = hex::decode(&self.series).ok().and_then(|b| b.try_into().ok());
        bytes.ok_or_else(|| broken("series"))
    }

    /// Parses every field, so that a broken state is reported before a command asks for a password or spends a try.
    fn check(&self) -> Outcome {
        self.key()?;
        self.account()?;
        self.lineage()?;
        self.series()?;
        if !self.hash.is_empty() && self.earlier_newest().is_none() {
            return Err(broken("hash"));
        }
        Ok(())
    }

    /// Identifies the key in the memory.
    pub(crate) fn name(&self) -> Outcome<KeyName> {
        Ok(KeyName::new(&self.key()?, &Lineage(self.lineage()?), &AccountId(self.account()?)))
    }

    /// The newest backup that an earlier version kept in this file.
    pub(super) fn earlier_newest(&self) -> Option<Known> {
        let hash: [u8; 32] = hex::decode(&self.hash).ok()?.try_into().ok()?;
        Some(Known { sequence: self.sequence, hash })
    }
}

fn bytes(field: &str, text: &str) -> Outcome<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(hex::decode(text).map_err(|_| broken(field))?);
    bytes.as_slice().try_into().map(Zeroizing::new).map_err(|_| broken(field))
}

pub(super) fn broken(field: &str) -> Failure {
    Failure::new(Exit::Config, format!("this device's state: `{field}` does not read"))
        .remedy("Restore the folder from before, or start with an empty one and recover the key.")
}
