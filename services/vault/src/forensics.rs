//! **For attack tests only** (feature `forensics`, off by default): what an attacker with root reads from a stopped vault, with its volume, its token
//! and its PIN.
//!
//! It bypasses no check: it opens rows with the keys that the token derives for any holder of the PIN, and unmasks secrets by the same code as in
//! service. No shipped binary contains it, but an attacker with root on a vault could write the same. Opening a store adds a boot to it, so work on a
//! copy.

use bkv_config::vault::Config;
use bkv_core::account::Account;
use bkv_core::batch::Batch;
use bkv_core::id::{AccountId, RegId, Slot};
use bkv_core::record::{Record, SealedShare};
use bkv_core::secret::Secret32;
use bkv_core::shard::Fleet;
use bkv_crypto::delivery::DeliveryKey;
use bkv_crypto::toprf::Share;
use bkv_hsm::{Token, VaultName};
use bkv_wire::proto::peer as p;
use prost::Message as _;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

use crate::env::OsRandom;
use crate::keeper::TokenKeeper;
use crate::raft::keeper::Keeper as _;
use crate::run::TokenKeys;
use crate::store::{DataKeys, Place, Store, StoreError, Table};

const VAULT: u16 = u16::MAX;
const TABLES: [Table; 9] = [
    Table::Vault,
    Table::Shard,
    Table::Log,
    Table::Account,
    Table::Secret,
    Table::Floor,
    Table::Event,
    Table::Deadline,
    Table::Before,
];

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ForensicsError {
    /// The token failed.
    #[error(transparent)]
    Token(#[from] bkv_hsm::TokenError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Any other error.
    #[error("{0}")]
    Other(String),
}

fn other(e: impl std::fmt::Display) -> ForensicsError {
    ForensicsError::Other(e.to_string())
}

/// A decrypted row of the store.
#[derive(Debug)]
pub struct OpenRow {
    /// The row's table.
    pub table: Table,
    /// The row's shard. Rows of the vault itself are in no shard.
    pub shard: u16,
    /// The row's name, in the tables whose rows have one.
    pub name: Option<String>,
    /// The plaintext.
    pub plain: Zeroizing<Vec<u8>>,
}

/// All rows of a stopped vault's store, decrypted with these keys. Fails at the first row that can't be decrypted.
pub fn rows(folder: &Path, keys: &Arc<dyn DataKeys>, shards: u16) -> Result<Vec<OpenRow>, StoreError> {
    open_rows(&Store::open(folder, keys, &OsRandom)?, shards)
}

fn open_rows(store: &Store, shards: u16) -> Result<Vec<OpenRow>, StoreError> {
    let mut found = Vec::new();
    for shard in (0..shards).chain([VAULT]) {
        for table in TABLES {
            let mut after: Option<Place> = None;
            loop {
                let page = store.rows(table, shard, after.as_ref(), 512)?;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                found.extend(page.into_iter().map(|(place, plain)| {
                    let named = matches!(table, Table::Vault | Table::Shard);
                    let name = named.then(|| place.bytes().get(3..).map(String::from_utf8_lossy)).flatten();
                    OpenRow { table, shard, name: name.map(std::borrow::Cow::into_owned), plain }
                }));
            }
        }
    }
    Ok(found)
}

/// The secrets of one registration, as one vault keeps them.
#[derive(Debug)]
pub struct Secrets {
    /// The secret from which the OPAQUE keys are derived.
    pub z: Secret32,
    /// This region's own share, unmasked.
    pub share: Option<Share>,
    /// The other regions' shares, as the client sealed them.
    pub sealed: Vec<SealedShare>,
}

/// A vault whose disk, token and PIN an attacker has seized.
pub struct Seized {
    store: Store,
    keeper: TokenKeeper,
    shards: u16,
    token: Token,
}

impl std::fmt::Debug for Seized {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seized(..)")
    }
}

impl Drop for Seized {
    fn drop(&mut self) {
        self.token.clone().close();
    }
}

impl Seized {
    /// Opens a vault's store by its configuration, as the vault itself would. Blocks.
    pub fn open(config: &Config) -> Result<Self, ForensicsError> {
        let token = Token::connect(&config.token, &VaultName::new(&config.region).map_err(other)?)?;
        let keys: Arc<dyn DataKeys> = Arc::new(TokenKeys(token.clone()));
        let store = Store::open(&config.data, &keys, &OsRandom)?;
        let seized = Self {
            store,
            keeper: TokenKeeper::new(token.clone(), Arc::new(OsRandom)),
            shards: config.shards,
            token,
        };
        seized.keeper.set_delivery(seized.delivery_key()?);
        let me = seized.store.get(&Place::new(Table::Vault, VAULT, b"node"))?;
        let me = me.and_then(|b| b.as_slice().try_into().ok()).map(u64::from_be_bytes);
        let slot = seized.fleet(0)?.and_then(|f| {
            let members = &f.documents.admission.members;
            members.iter().find(|m| Some(m.node.0) == me).map(|m| m.slot)
        });
        seized.keeper.set_slot(slot);
        Ok(seized)
    }

    /// All rows of the store, decrypted. Fails at the first row that can't be decrypted.
    pub fn rows(&self) -> Result<Vec<OpenRow>, StoreError> {
        open_rows(&self.store, self.shards)
    }

    fn of(&self, table: Table, shard: u16) -> Result<Vec<Zeroizing<Vec<u8>>>, StoreError> {
        let rows = self.rows()?.into_iter();
        Ok(rows.filter(|r| r.table == table && r.shard == shard).map(|r| r.plain).collect())
    }

    /// The key to which shares are sealed.
    pub fn delivery_key(&self) -> Result<DeliveryKey, ForensicsError> {
        let row = self.store.get(&Place::new(Table::Vault, VAULT, b"delivery"))?;
        let row = row.ok_or_else(|| other("no delivery key"))?;
        DeliveryKey::from_secret(row.as_slice().try_into().map_err(other)?).map_err(other)
    }

    /// The vault's slot on the admission list.
    pub fn slot(&self) -> Result<Slot, ForensicsError> {
        let public = *self.delivery_key()?.public();
        let fleet = self.fleet(0)?.ok_or_else(|| other("no fleet"))?;
        let members = &fleet.documents.admission.members;
        members.iter().find(|m| m.delivery == public).map(|m| m.slot).ok_or_else(|| other("not admitted"))
    }

    /// The fleet of a shard.
    pub fn fleet(&self, shard: u16) -> Result<Option<Fleet>, ForensicsError> {
        let row = self.store.get(&Place::new(Table::Shard, shard, b"fleet"))?;
        row.map(|r| minicbor::decode(&r).map_err(other)).transpose()
    }

    /// All accounts, with their shards.
    pub fn accounts(&self) -> Result<Vec<(u16, AccountId, Account)>, ForensicsError> {
        let mut all = Vec::new();
        for shard in 0..self.shards {
            for row in self.of(Table::Account, shard)? {
                let (id, account): (AccountId, Account) = minicbor::decode(&row).map_err(other)?;
                all.push((shard, id, account));
            }
        }
        Ok(all)
    }

    /// The log's batches of commands, in order.
    pub fn log(&self, shard: u16) -> Result<Vec<Batch>, ForensicsError> {
        let mut all = Vec::new();
        for row in self.of(Table::Log, shard)? {
            // The row begins with the entry's chain hash.
            let entry = p::Entry::decode(row.get(32..).unwrap_or_default()).map_err(other)?;
            if let Some(p::entry::Payload::Batch(batch)) = entry.payload {
                all.push(minicbor::decode(&batch).map_err(other)?);
            }
        }
        Ok(all)
    }

    /// The stored secrets of a registration: no longer sealed, but still masked.
    pub fn kept(&self, shard: u16, id: &AccountId, reg_id: &RegId) -> Result<Option<Vec<u8>>, StoreError> {
        let hidden = self.store.hidden(&[b"secret", &id.0, &reg_id.0]);
        let copy = crate::raft::rows::live_copy(&self.store, shard)?;
        Ok(self.store.get(&Place::of_copy(Table::Secret, shard, copy, &hidden))?.map(|row| row.to_vec()))
    }

    /// The secrets of a registration, unmasked by the token.
    pub fn secrets(&self, shard: u16, id: &AccountId, record: &Record) -> Result<Secrets, ForensicsError> {
        let kept = self
            .kept(shard, id, &record.reg_id)?
            .ok_or_else(|| other("the store has no secrets of this registration"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(other)?;
        let unmasked = runtime.block_on(self.keeper.unmask(id, &record.reg_id, record, &kept));
        let (unmasked, _) = unmasked.map_err(other)?;
        let exported = self.keeper.export(id, &record.reg_id, &kept).ok_or_else(|| other("not exported"))?;
        let (z, sealed, _) = exported;
        Ok(Secrets { z, share: unmasked.share.map(|own| own.share), sealed })
    }
}
