//! Binds backup files to account and fleet: sequence numbers, what a file must be, and which is the newest. The bytes are `bkv-stream`'s.

use bkv_core::id::{AccountId, Hash, Lineage};
use bkv_core::writers::LedgerName;
use bkv_stream::header::{Expect, Header, Known, Manifest};

use crate::BackupKey;
use crate::client::Client;
use crate::error::Error;
use crate::memory::{KeyName, later};
use crate::receipt::Receipt;
use crate::runtime::Runtime;

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

/// The newest backup under a key: as the owner named it at the vault, or as this device remembers it ([`crate::Remembered::newest`]).
pub fn newest(named: Option<LedgerName>, remembered: Option<Known>) -> Option<Known> {
    // With equal numbers take the vault's, which the owner signed.
    later(remembered, named.map(|m| Known { sequence: m.counter, hash: m.hash.0 }))
}

impl Client {
    /// Call it once a backup is safely stored. Remembers it on this device, then names it at the vault.
    pub async fn backed_up(&self, key: &BackupKey, header: &Header) -> Result<Receipt, Error> {
        let (manifest, hash) = (header.manifest(), *header.hash());
        let name = KeyName::new(key, &Lineage(manifest.lineage), &AccountId(manifest.account));
        let newest = Known { sequence: manifest.sequence, hash };
        self.fleet().memory().update(&mut |seen| seen.saw(&name, newest))?;
        self.name_file(key, LedgerName { counter: newest.sequence, hash: Hash(hash) }).await
    }
}
