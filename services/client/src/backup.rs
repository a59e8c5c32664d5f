//! Binds backup files to account and fleet: sequence numbers, what a file must be, and which is the newest. The bytes are `bkv-stream`'s.

use bkv_core::account::Manifest as Named;
use bkv_core::id::{AccountId, Hash, Lineage};
use bkv_stream::header::{Expect, Header, Known, Manifest};

use crate::client::Client;
use crate::error::Error;
use crate::memory::{Memory, MemoryError, Remembered};
use crate::receipt::Receipt;
use crate::runtime::Runtime;
use crate::{BackupKey, Fleet};

/// A series of backups of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    /// Fleet.
    pub lineage: Lineage,
    /// Owner.
    pub account: AccountId,
    /// Random, the same for all backups of the series.
    pub id: [u8; 16],
}

impl Series {
    /// A new series.
    pub fn new(runtime: &Runtime, lineage: Lineage, account: AccountId) -> Self {
        Self { lineage, account, id: runtime.bytes() }
    }

    /// The header's manifest of the next backup after the newest one known.
    pub fn next(&self, newest: Option<Known>, created_ms: u64) -> Manifest {
        let sequence = newest.map_or(1, |k| k.sequence.saturating_add(1));
        let mut manifest = Manifest::new(self.account.0, self.id, sequence, created_ms);
        manifest.lineage = self.lineage.0;
        manifest
    }
}

/// The requirements for restoring a file to this account (S29): its fleet, its owner, and no older than the newest one known. With `newest` None
/// the client can't notice a rollback, and should tell the user so.
pub fn expect(lineage: &Lineage, account: &AccountId, newest: Option<Known>) -> Expect {
    Expect { lineage: Some(lineage.0), account: Some(account.0), known: newest, ..Expect::default() }
}

/// The newest backup of the account that the vault (as the owner named it) or this device knows.
pub fn newest(account: &AccountId, named: Option<Named>, remembered: &Remembered) -> Option<Known> {
    let named = named.map(|m| Known { sequence: m.sequence, hash: m.hash.0 });
    let mine = hash_from_hex(&remembered.manifest_hash)
        .filter(|_| remembered.manifest_account == account.to_string())
        .map(|hash| Known { sequence: remembered.manifest_sequence, hash });
    // With equal numbers take the vault's, which the owner signed.
    match (named, mine) {
        (Some(named), Some(mine)) if mine.sequence > named.sequence => Some(mine),
        (None, mine) => mine,
        (named, _) => named,
    }
}

impl Client {
    /// Call it once a backup is safely stored. Remembers it on this device, then names it at the vault.
    pub async fn backed_up(&self, key: &BackupKey, header: &Header) -> Result<Receipt, Error> {
        let (sequence, hash) = (header.manifest().sequence, Hash(*header.hash()));
        let newest = Named { sequence, hash };
        remember(self.fleet(), &AccountId(header.manifest().account), &newest)?;
        self.set_manifest(key, newest).await
    }
}

/// Remembers the account's newest backup on this device, unless it knows a newer one.
pub(crate) fn remember(fleet: &Fleet, account: &AccountId, newest: &Named) -> Result<(), MemoryError> {
    let memory: &dyn Memory = fleet.memory();
    let seen = memory.load()?;
    let account = account.to_string();
    if seen.manifest_account != account || newest.sequence >= seen.manifest_sequence {
        memory.save(&Remembered {
            manifest_account: account,
            manifest_sequence: newest.sequence,
            manifest_hash: newest.hash.to_string(),
            ..seen
        })?;
    }
    Ok(())
}

fn hash_from_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).ok()?;
    Some(hash)
}
