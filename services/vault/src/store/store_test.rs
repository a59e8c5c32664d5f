use bkv_hsm::TokenError;
use sha2::Digest as _;

use super::*;
use crate::env::OsRandom;

/// Derives keys as a token would.
pub(crate) struct TestKeys(pub [u8; 32]);

impl DataKeys for TestKeys {
    fn data_key(&self, info: &[u8]) -> Result<Zeroizing<[u8; 32]>, TokenError> {
        let digest: [u8; 32] = sha2::Sha256::new_with_prefix(self.0).chain_update(info).finalize().into();
        Ok(Zeroizing::new(digest))
    }
}

fn keys(n: u8) -> Arc<dyn DataKeys> {
    Arc::new(TestKeys([n; 32]))
}

fn open(dir: &Path) -> Store {
    Store::open(dir, &keys(1), &OsRandom).unwrap()
}

#[tokio::test]
async fn rows_are_seen_at_once_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(Table::Account, 3, b"somebody");
    {
        let store = open(dir.path());
        store.write(vec![Change::put(place.clone(), b"one".to_vec())], None);
        assert_eq!(store.get(&place).unwrap().unwrap().as_slice(), b"one");
        store.write(vec![Change::put(place.clone(), b"two".to_vec())], None);
        store.flush().await.unwrap();
    }
    let store = open(dir.path());
    assert_eq!(store.get(&place).unwrap().unwrap().as_slice(), b"two");
    store.write(vec![Change::remove(place.clone())], None);
    assert!(store.get(&place).unwrap().is_none());
    store.flush().await.unwrap();
    assert!(store.get(&place).unwrap().is_none());
}

#[tokio::test]
async fn numbered_rows_stand_in_order_and_shards_apart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for n in [300u64, 2, 40] {
        store.write(vec![Change::put(Place::numbered(Table::Log, 1, n), vec![1])], None);
        store.write(vec![Change::put(Place::numbered(Table::Log, 2, n + 1), vec![2])], None);
    }
    store.flush().await.unwrap();
    let numbers = |shard, after: Option<&Place>, max| {
        store
            .rows(Table::Log, shard, after, max)
            .unwrap()
            .iter()
            .map(|(p, _)| p.number().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(1, None, 10), [2, 40, 300]);
    assert_eq!(numbers(1, Some(&Place::numbered(Table::Log, 1, 2)), 1), [40]);
    assert_eq!(numbers(2, None, 10), [3, 41, 301]);
    assert!(numbers(3, None, 10).is_empty());
}

/// S25: a sealed row decrypts only at its own place in its own vault.
#[tokio::test]
async fn s25_a_row_opens_nowhere_else() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mine = Place::new(Table::Secret, 1, b"mine");
    {
        let store = open(a.path());
        store.write(vec![Change::put(mine.clone(), b"secret".to_vec())], None);
        store.flush().await.unwrap();
        let sealed = store.read(&mine).unwrap().unwrap();
        for place in [
            Place::new(Table::Secret, 1, b"other"),
            Place::new(Table::Secret, 2, b"mine"),
            Place::new(Table::Account, 1, b"mine"),
        ] {
            assert!(matches!(store.sealer.open(&place, &sealed), Err(StoreError::Sealed(_))), "{place}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[at] ^= 1;
            assert!(store.sealer.open(&mine, &changed).is_err(), "byte {at}");
        }
        for cut in 0..sealed.len() {
            assert!(store.sealer.open(&mine, &sealed[..cut]).is_err());
        }
        let other = open(b.path());
        assert!(other.sealer.open(&mine, &sealed).is_err(), "another vault's boot");
    }
    let with_another_token = Store::open(a.path(), &keys(2), &OsRandom).unwrap();
    assert!(matches!(with_another_token.get(&mine), Err(StoreError::Sealed(_))));
}

#[tokio::test]
async fn a_second_opener_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());
    let second = Store::open(dir.path(), &keys(1), &OsRandom);
    assert!(matches!(second, Err(StoreError::InUse { .. })), "{second:?}");
}

/// S04: the disk shows neither rows nor names.
#[tokio::test]
async fn s04_the_file_shows_nothing_of_rows_or_names() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        let name = store.hidden(&[b"canary-account"]);
        let changes =
            vec![Change::put(Place::new(Table::Account, 0, &name), b"canary-value-canary-value".to_vec())];
        store.write(changes, None);
        store.flush().await.unwrap();
    }
    let file = std::fs::read(dir.path().join("vault.redb")).unwrap();
    assert!(!file.windows(6).any(|w| w == b"canary"));
}

/// Killed while the file was created: the next start discards the unfinished file.
#[tokio::test]
async fn a_store_whose_making_was_cut_short_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("vault.redb.new"), [0u8; 4096]).unwrap();
    drop(open(dir.path()));
    assert!(dir.path().join("vault.redb").exists() && !dir.path().join("vault.redb.new").exists());
}
