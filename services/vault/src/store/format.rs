//! The number of the store's format, in the clear. A program reads it before it writes anything: one that does not know the format changes nothing.

use std::path::Path;

use redb::{
    Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, TableDefinition, TableError,
    WriteTransaction,
};

use super::StoreError;
use super::seal::BOOTS;

/// The format that this program reads and writes. A change of a table, a place or a row needs a new number.
pub const FORMAT: u32 = 7;
/// Stores of the first format have no number.
const FIRST: u32 = 1;

const FORMATS: TableDefinition<'_, &str, u32> = TableDefinition::new("format");

/// Refuses a file of another format, without writing to it.
pub(super) fn check_file(path: &Path) -> Result<(), StoreError> {
    match ReadOnlyDatabase::open(path) {
        Ok(db) => judge(&db.begin_read()?),
        // A file that was not closed in order, or that another process has open. Opening it for writing tells.
        Err(_) => Ok(()),
    }
}

/// Refuses a store of another format.
pub(super) fn check(db: &Database) -> Result<(), StoreError> {
    judge(&db.begin_read()?)
}

fn judge(tx: &ReadTransaction) -> Result<(), StoreError> {
    let found = match tx.open_table(FORMATS) {
        Ok(table) => table.get("store")?.map_or(FIRST, |n| n.value()),
        Err(TableError::TableDoesNotExist(_)) => match tx.open_table(BOOTS) {
            Ok(_) => FIRST,
            Err(TableError::TableDoesNotExist(_)) => return Ok(()), // nothing was ever written
            Err(e) => return Err(e.into()),
        },
        Err(e) => return Err(e.into()),
    };
    if found == FORMAT { Ok(()) } else { Err(StoreError::Format { found, known: FORMAT }) }
}

/// Writes the number, with the first boot of the store.
pub(super) fn write(tx: &WriteTransaction) -> Result<(), StoreError> {
    tx.open_table(FORMATS)?.insert("store", FORMAT)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::store_test::TestKeys;
    use super::super::{DataKeys, Store};
    use super::*;
    use crate::env::OsRandom;

    /// S52: a store of a newer version, and one of the version before formats had numbers.
    #[test]
    fn s52_a_newer_store_is_refused_and_left_alone() {
        let keys: Arc<dyn DataKeys> = Arc::new(TestKeys([1; 32]));
        for found in [FORMAT + 1, FIRST] {
            let dir = tempfile::tempdir().unwrap();
            drop(Store::open(dir.path(), &keys, &OsRandom).unwrap());
            let path = dir.path().join("vault.redb");
            let db = Database::open(&path).unwrap();
            let tx = db.begin_write().unwrap();
            if found == FIRST {
                tx.delete_table(FORMATS).unwrap();
            } else {
                tx.open_table(FORMATS).unwrap().insert("store", found).unwrap();
            }
            tx.commit().unwrap();
            drop(db);
            let before = std::fs::read(&path).unwrap();
            let error = Store::open(dir.path(), &keys, &OsRandom).unwrap_err();
            assert!(matches!(error, StoreError::Format { found: f, known: FORMAT } if f == found), "{error}");
            assert!(
                error
                    .to_string()
                    .contains(&format!("format {found}, and this program knows format {FORMAT}"))
            );
            assert_eq!(std::fs::read(&path).unwrap(), before, "format {found}");
            // Also if the file was not closed in order, or has no path.
            let error = Store::over(Database::open(&path).unwrap(), &keys, &OsRandom).unwrap_err();
            assert!(matches!(error, StoreError::Format { .. }), "{error}");
        }
    }
}
