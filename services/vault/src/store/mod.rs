//! The vault's store in one file: a redb table of sealed rows, written by one thread that commits for all shards at once.
//!
//! Readers see every change as soon as it is handed in, before it is on disk. A caller that must wait for the disk waits for the job's callback. The
//! store does not interpret rows.

mod error;
mod format;
mod key;
mod seal;
mod writer;

pub use error::StoreError;
pub use format::FORMAT;
pub(crate) use key::VAULT;
pub use key::{Place, Table};
pub use seal::DataKeys;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::{Histogram, HistogramOpts};
use redb::{Database, ReadableDatabase as _, TableDefinition};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::env::Random;
use seal::Sealer;
use writer::Writer;

/// The only table: place → sealed value.
const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
/// Bytes of pages in redb's cache. It bounds the store's memory, whatever the store's size. The operating system's page cache holds the rest.
const CACHE: usize = 16 << 20;

/// One change of a row. None removes the row.
pub(crate) struct Change {
    pub place: Place,
    pub value: Option<Vec<u8>>,
}

impl Change {
    pub(crate) fn put(place: Place, value: Vec<u8>) -> Self {
        Self { place, value: Some(value) }
    }

    pub(crate) const fn remove(place: Place) -> Self {
        Self { place, value: None }
    }
}

/// Gets a read transaction on the state that a job's commit left.
type Pin = Box<dyn FnOnce(redb::ReadTransaction) + Send>;

/// Called once, when the job is on disk or has failed.
pub(crate) type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Rows handed in but not on disk yet: place → (job number, value).
type Unflushed = Arc<Mutex<HashMap<Vec<u8>, (u64, Option<Bytes>)>>>;

/// Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: Arc<Database>,
    sealer: Arc<Sealer>,
    writer: Arc<Writer>,
    unflushed: Unflushed,
    times: Histogram,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store(..)")
    }
}

impl Store {
    /// Opens or creates the store in a folder. Refuses a store that another process has open.
    pub fn open(folder: &Path, keys: &Arc<dyn DataKeys>, random: &dyn Random) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder)
            .map_err(|e| StoreError::Folder { path: folder.to_owned(), source: e.into() })?;
        let path = folder.join("vault.redb");
        if path.exists() {
            format::check_file(&path)?;
        } else {
            make_whole(folder, &path)?;
        }
        let db = Database::builder()
            .set_cache_size(CACHE)
            .create(&path)
            .map_err(|e| StoreError::open(&path, e))?;
        Self::over(db, keys, random)
    }

    /// Opens the store over an open database: tests and simulations bring their own backend.
    pub fn over(db: Database, keys: &Arc<dyn DataKeys>, random: &dyn Random) -> Result<Self, StoreError> {
        format::check(&db)?;
        let sealer = Arc::new(seal::start(&db, keys, random)?);
        let db = Arc::new(db);
        let unflushed = Unflushed::default();
        let options = HistogramOpts::new(
            "bkv_vault_log_fsync_duration_seconds",
            "Time of a group commit, fsync included",
        )
        .buckets(vec![0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]);
        let times = Histogram::with_opts(options).map_err(|e| StoreError::Database(e.to_string()))?;
        let failed = Arc::new(watch::Sender::new(None));
        let writer = Arc::new(Writer::start(db.clone(), unflushed.clone(), failed, times.clone())?);
        Ok(Self { db, sealer, writer, unflushed, times })
    }

    /// Lets the token derive this boot's keys of these shards now, so that sealing does not wait for the token later.
    pub(crate) fn prepare(&self, shards: impl IntoIterator<Item = u16>) -> Result<(), StoreError> {
        shards.into_iter().try_for_each(|shard| self.sealer.prepare(shard))
    }

    /// Set once a write has failed. The store then writes nothing, and the process must end.
    pub(crate) fn failed(&self) -> watch::Receiver<Option<StoreError>> {
        self.writer.failed()
    }

    /// How long commits take.
    pub(crate) fn times(&self) -> Histogram {
        self.times.clone()
    }

    /// The row at a place, including changes that are not on disk yet.
    pub(crate) fn get(&self, place: &Place) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let pending = self.lock().get(place.bytes()).map(|(_, v)| v.clone());
        let sealed = match pending {
            Some(value) => value,
            None => self.read(place)?,
        };
        sealed.map(|s| self.sealer.open(place, &s)).transpose()
    }

    fn read(&self, place: &Place) -> Result<Option<Bytes>, StoreError> {
        let tx = self.db.begin_read()?;
        let table = tx.open_table(ROWS)?;
        Ok(table.get(place.bytes())?.map(|v| Bytes::copy_from_slice(v.value())))
    }

    /// The disk as it is now, without later writes. Call [`Self::flush`] first.
    pub fn view(&self) -> Result<View, StoreError> {
        Ok(View { tx: self.db.begin_read()?, sealer: self.sealer.clone() })
    }

    /// Like [`View::rows`], on the disk as it is now.
    pub(crate) fn rows(
        &self,
        table: Table,
        shard: u16,
        after: Option<&Place>,
        max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.view()?.rows(table, shard, after, max)
    }

    /// Hands changes in. They are visible at once, and on disk when `done` is called.
    pub(crate) fn write(&self, changes: Vec<Change>, done: Option<Done>) {
        self.hand_in(changes, done, None);
    }

    /// Like [`Self::write`]. Once the changes are on disk, `pinned` gets a view of exactly that state, with no later change in it.
    pub(crate) fn write_pinned(
        &self,
        changes: Vec<Change>,
        done: Option<Done>,
        pinned: impl FnOnce(View) + Send + 'static,
    ) {
        let sealer = self.sealer.clone();
        self.hand_in(changes, done, Some(Box::new(move |tx| pinned(View { tx, sealer }))));
    }

    fn hand_in(&self, changes: Vec<Change>, done: Option<Done>, pin: Option<Pin>) {
        let mut sealed = Vec::with_capacity(changes.len());
        for c in changes {
            match c.value.map(|v| self.sealer.seal(&c.place, &Zeroizing::new(v))).transpose() {
                Ok(value) => sealed.push((c.place, value.map(Bytes::from))),
                Err(e) => {
                    // Treat it like a failed commit: later changes must not become durable without this one.
                    self.writer.fail(&e);
                    if let Some(done) = done {
                        done(Err(e));
                    }
                    return;
                }
            }
        }
        // Number and queue the job under one lock, so that the order on disk is the order in memory.
        let mut unflushed = self.lock();
        let number = self.writer.next_number();
        for (place, value) in &sealed {
            unflushed.insert(place.bytes().to_vec(), (number, value.clone()));
        }
        self.writer.send(number, sealed, done, pin);
    }

    /// Waits until everything handed in so far is on disk.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (tx, rx) = tokio::sync::oneshot::channel();
        let done: Done = Box::new(move |result| {
            let _ = tx.send(result);
        });
        self.write(Vec::new(), Some(done));
        rx.await.map_err(|_| StoreError::Closed)?
    }

    /// A small sealed value of the vault itself.
    pub(crate) fn secret(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.get(&Place::of_vault(name))
    }

    /// Stores a small sealed value. It is on disk when this returns.
    pub(crate) async fn put_secret(&self, name: &str, value: Vec<u8>) -> Result<(), StoreError> {
        self.write(vec![Change::put(Place::of_vault(name), value)], None);
        self.flush().await
    }

    /// The key of an account's rows: a keyed hash, so that an attacker with the disk learns no account ids.
    pub(crate) fn hidden(&self, parts: &[&[u8]]) -> [u8; 16] {
        self.sealer.hidden(parts)
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<Vec<u8>, (u64, Option<Bytes>)>> {
        self.unflushed.lock()
    }
}

/// Creates the database under another name and renames it. A database whose creation was interrupted could never be opened again.
fn make_whole(folder: &Path, path: &Path) -> Result<(), StoreError> {
    let beside = folder.join("vault.redb.new");
    let io = |e: std::io::Error| StoreError::Folder { path: folder.to_owned(), source: e.into() };
    match std::fs::remove_file(&beside) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(e)),
        _ => {}
    }
    drop(
        Database::builder()
            .set_cache_size(CACHE)
            .create(&beside)
            .map_err(|e| StoreError::open(&beside, e))?,
    );
    std::fs::File::open(&beside).and_then(|f| f.sync_all()).map_err(io)?;
    bkv_files::publish(&beside, path).map_err(io)
}

/// A consistent view of the disk.
pub struct View {
    tx: redb::ReadTransaction,
    sealer: Arc<Sealer>,
}

impl View {
    /// One row.
    pub(crate) fn get(&self, place: &Place) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let table = self.tx.open_table(ROWS)?;
        let sealed = table.get(place.bytes())?.map(|v| v.value().to_vec());
        sealed.map(|s| self.sealer.open(place, &s)).transpose()
    }

    /// At most `max` rows in the order of their places, starting after `after`.
    pub(crate) fn rows(
        &self,
        table: Table,
        shard: u16,
        after: Option<&Place>,
        max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.rows_under(&Place::new(table, shard, &[]), after, max)
    }

    /// At most `max` rows whose places begin with `prefix`, in their order, starting after `after`.
    pub(crate) fn rows_under(
        &self,
        prefix: &Place,
        after: Option<&Place>,
        max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let rows = self.tx.open_table(ROWS)?;
        let (first, end) = prefix.bounds();
        let from = after.map_or(first.clone(), |p| [p.bytes(), &[0]].concat());
        let mut found = Vec::new();
        for row in rows.range::<&[u8]>(from.as_slice()..end.as_slice())?.take(max) {
            let (place, value) = row?;
            let place = Place::from_bytes(place.value());
            let value = self.sealer.open(&place, value.value())?;
            found.push((place, value));
        }
        Ok(found)
    }
}

impl View {
    /// At most `max` places from `from` up to the end of those that begin with `prefix`. Decrypts nothing.
    pub(crate) fn places(&self, prefix: &Place, from: &Place, max: usize) -> Result<Vec<Place>, StoreError> {
        let rows = self.tx.open_table(ROWS)?;
        let (_, end) = prefix.bounds();
        let range = rows.range::<&[u8]>(from.bytes()..end.as_slice())?;
        range.take(max).map(|row| Ok(Place::from_bytes(row?.0.value()))).collect()
    }
}

/// A place and its decrypted value.
pub(crate) type Row = (Place, Zeroizing<Vec<u8>>);

#[cfg(test)]
pub(crate) mod store_test;
