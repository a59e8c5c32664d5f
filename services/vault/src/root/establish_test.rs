use std::sync::Arc;

use bkv_hsm::TokenError;

use super::*;
use crate::env::OsRandom;
use crate::store::DataKeys;

const FLEET: FleetId = FleetId([7; 16]);

/// Stands in for a token: derives the same keys at each start.
struct Keys;

impl DataKeys for Keys {
    fn data_key(&self, info: &[u8]) -> Result<Zeroizing<[u8; 32]>, TokenError> {
        Ok(Zeroizing::new(bkv_core::hash::tagged("test", &[info]).0))
    }
}

struct Seed {
    dir: tempfile::TempDir,
}

impl Seed {
    /// The state before the token has keys.
    fn new() -> Self {
        let seed = Self { dir: tempfile::tempdir().unwrap() };
        FirstStart::of(&seed.data()).note().unwrap();
        seed
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn file(&self) -> PathBuf {
        self.data().join("root.bin")
    }

    async fn start(&self, make: Option<FleetId>) -> Result<Custody, RootError> {
        let keys: Arc<dyn DataKeys> = Arc::new(Keys);
        let store = Store::open(&self.data(), &keys, &OsRandom).unwrap();
        let file = RootFile::read(&self.file(), make.is_some())?;
        establish(file, make, &store, &FirstStart::of(&self.data()), &OsRandom).await
    }
}

#[tokio::test]
async fn a_seed_makes_its_root_once_and_has_it_again_at_each_start() {
    let seed = Seed::new();
    let made = seed.start(Some(FLEET)).await.unwrap();
    assert_eq!(made.root().fleet, FLEET);
    assert!(!made.root().development);
    assert_eq!(std::fs::read(seed.file()).unwrap(), made.file());
    let again = seed.start(Some(FLEET)).await.unwrap();
    assert_eq!(again.file(), made.file());
    assert_eq!(again.key().unwrap().public(), made.root().keys[0]);
    // Also after the section was removed from the configuration.
    assert!(seed.start(None).await.unwrap().key().is_some());
}

#[tokio::test]
async fn the_private_half_lies_nowhere_in_the_clear() {
    let seed = Seed::new();
    let key = seed.start(Some(FLEET)).await.unwrap().key().unwrap().seed();
    let files: Vec<PathBuf> = std::fs::read_dir(seed.data()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(files.iter().any(|f| f.ends_with("vault.redb")) && files.iter().any(|f| f.ends_with("root.bin")));
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(32).any(|w| w == key.as_slice()), "{}", file.display());
    }
}

#[tokio::test]
async fn a_lost_root_file_is_written_again_as_it_was() {
    let seed = Seed::new();
    let made = seed.start(Some(FLEET)).await.unwrap();
    std::fs::remove_file(seed.file()).unwrap();
    let again = seed.start(Some(FLEET)).await.unwrap();
    assert_eq!(std::fs::read(seed.file()).unwrap(), made.file());
    assert!(again.key().is_some());
}

#[tokio::test]
async fn a_lost_store_is_reported_and_no_second_root_is_made() {
    let seed = Seed::new();
    seed.start(Some(FLEET)).await.unwrap();
    let root = std::fs::read(seed.file()).unwrap();
    std::fs::remove_file(seed.data().join("vault.redb")).unwrap();
    let error = seed.start(Some(FLEET)).await.unwrap_err();
    assert!(matches!(&error, RootError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("makes no second root"), "{error}");
    assert_eq!(std::fs::read(seed.file()).unwrap(), root);
    // The whole folder is gone, the token is still there.
    std::fs::remove_dir_all(seed.data()).unwrap();
    assert!(matches!(seed.start(Some(FLEET)).await, Err(RootError::Lost { .. })));
    assert!(!seed.file().exists());
    // The vault starts if it only pins the root.
    std::fs::write(seed.file(), root).unwrap();
    assert!(seed.start(None).await.unwrap().key().is_none());
}

/// Killed after the private half was stored and before its file was written, and killed before anything was stored.
#[tokio::test]
async fn a_crash_in_between_is_gone_on_from() {
    let seed = Seed::new();
    let keys: Arc<dyn DataKeys> = Arc::new(Keys);
    drop(Store::open(&seed.data(), &keys, &OsRandom).unwrap());
    let made = seed.start(Some(FLEET)).await.unwrap();
    std::fs::remove_file(seed.file()).unwrap();
    FirstStart::of(&seed.data()).note().unwrap();
    let again = seed.start(Some(FLEET)).await.unwrap();
    assert_eq!(again.file(), made.file());
}

#[tokio::test]
async fn another_fleet_or_another_root_file_is_refused() {
    let seed = Seed::new();
    let made = seed.start(Some(FLEET)).await.unwrap();
    let other = FleetId([8; 16]);
    let error = seed.start(Some(other)).await.unwrap_err();
    assert!(matches!(error, RootError::OtherFleet { want, found } if want == other && found == FLEET));
    let swapped = Root { fleet: other, ..made.root().clone() };
    std::fs::write(seed.file(), swapped.encode()).unwrap();
    assert!(matches!(seed.start(Some(FLEET)).await, Err(RootError::Other(_))));
    std::fs::write(seed.file(), b"\xff\xff").unwrap();
    assert!(matches!(seed.start(Some(FLEET)).await, Err(RootError::Malformed { .. })));
}
