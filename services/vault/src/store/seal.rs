//! Sealing rows: AES-256-GCM with the place as associated data. The token derives the data key for each shard and boot.
//!
//! A sealed row is boot number (4) ‖ nonce counter (8) ‖ ciphertext ‖ tag. Each boot has its own key, so a counter that starts at zero never repeats
//! a nonce under the same key, and no key comes near its usage limit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bkv_hsm::TokenError;
use hmac::{Hmac, Mac as _};
use parking_lot::Mutex;
use redb::{Database, ReadableTable as _, TableDefinition};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Place, ROWS, StoreError, format};
use crate::env::Random;

/// Boot number → nonce, in the clear. Without the token an attacker can't derive a key from it.
pub(super) const BOOTS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("boots");
const HEAD: usize = 12;

/// Derives data keys in the token: HMAC(epoch, info).
pub trait DataKeys: Send + Sync + 'static {
    /// The key for `info`.
    fn data_key(&self, info: &[u8]) -> Result<Zeroizing<[u8; 32]>, TokenError>;
}

pub(super) struct Sealer {
    keys: Arc<dyn DataKeys>,
    boots: HashMap<u32, Vec<u8>>,
    boot: u32,
    counter: AtomicU64,
    /// (boot, shard) → key.
    open: Mutex<HashMap<(u32, u16), Arc<LessSafeKey>>>,
    places: Zeroizing<[u8; 32]>,
}

/// Reads the earlier boots and begins a new one.
pub(super) fn start(
    db: &Database,
    keys: &Arc<dyn DataKeys>,
    random: &dyn Random,
) -> Result<Sealer, StoreError> {
    let mut boots = HashMap::new();
    let tx = db.begin_write()?;
    let mut nonce = [0u8; 32];
    random.fill(&mut nonce);
    let boot = {
        tx.open_table(ROWS)?;
        format::write(&tx)?;
        let mut table = tx.open_table(BOOTS)?;
        for row in table.iter()? {
            let (n, v) = row?;
            boots.insert(n.value(), v.value().to_vec());
        }
        let boot = boots.keys().max().map_or(1, |b| b.saturating_add(1));
        table.insert(boot, nonce.as_slice())?;
        boot
    };
    tx.commit()?;
    boots.insert(boot, nonce.to_vec());
    // Places must stay the same in later boots, so their key is derived from the first boot's nonce.
    let first = boots.get(&1).cloned().unwrap_or_default();
    let places = keys.data_key(&[b"bkv/places/1".as_slice(), &first].concat())?;
    Ok(Sealer { keys: keys.clone(), boots, boot, counter: AtomicU64::new(0), open: Mutex::default(), places })
}

impl Sealer {
    fn key(&self, boot: u32, shard: u16) -> Result<Arc<LessSafeKey>, StoreError> {
        let mut open = self.open.lock();
        if let Some(key) = open.get(&(boot, shard)) {
            return Ok(key.clone());
        }
        let nonce = self.boots.get(&boot).ok_or(StoreError::UnknownBoot(boot))?;
        let info = [b"bkv/rows/1".as_slice(), &shard.to_be_bytes(), nonce].concat();
        let key = self.keys.data_key(&info)?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| StoreError::KeyLength)?;
        let key = Arc::new(LessSafeKey::new(key));
        open.insert((boot, shard), key.clone());
        Ok(key)
    }

    /// Derives this boot's key of a shard, unless that was done.
    pub(super) fn prepare(&self, shard: u16) -> Result<(), StoreError> {
        self.key(self.boot, shard).map(|_| ())
    }

    pub(super) fn seal(&self, place: &Place, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let key = self.key(self.boot, place.shard())?;
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        // Reserve room for everything at once: a buffer that grows leaves copies of its plaintext in freed memory.
        let mut out = Vec::with_capacity(HEAD + plain.len() + AES_256_GCM.tag_len());
        out.extend_from_slice(&self.boot.to_be_bytes());
        out.extend_from_slice(&counter.to_be_bytes());
        let nonce = nonce(&out)?;
        out.extend_from_slice(plain);
        let body = out.get_mut(HEAD..).unwrap_or_default();
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(place.bytes()), body)
            .map_err(|_| StoreError::Sealed(place.to_string()))?;
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    pub(super) fn open(&self, place: &Place, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let bad = || StoreError::Sealed(place.to_string());
        let (head, body) = sealed.split_at_checked(HEAD).ok_or_else(bad)?;
        let boot = head.first_chunk().copied().map(u32::from_be_bytes).ok_or_else(bad)?;
        let key = self.key(boot, place.shard())?;
        let mut body = Zeroizing::new(body.to_vec());
        let len =
            key.open_in_place(nonce(head)?, Aad::from(place.bytes()), &mut body).map_err(|_| bad())?.len();
        body.truncate(len);
        Ok(body)
    }

    pub(super) fn hidden(&self, parts: &[&[u8]]) -> [u8; 16] {
        // A key of 32 bytes is always accepted.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.places.as_slice()) else { return [0; 16] };
        for p in parts {
            mac.update(&(p.len() as u64).to_be_bytes());
            mac.update(p);
        }
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        whole.first_chunk().copied().unwrap_or_default()
    }
}

/// boot ‖ counter: unique under the key of (boot, shard).
fn nonce(head: &[u8]) -> Result<Nonce, StoreError> {
    Nonce::try_assume_unique_for_key(head.get(..HEAD).unwrap_or_default()).map_err(|_| StoreError::Closed)
}
