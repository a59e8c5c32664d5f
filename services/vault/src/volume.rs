//! Room on the store's volume.
//!
//! A store that meets a full disk writes no more, and the process ends. So a vault refuses what only makes the store grow long before that: below a mark it
//! takes what ends something, and nothing else. A reserve file makes sure that a vault can start on a full disk: a start has to write a little.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bkv_config::vault::Volume as Settings;
use parking_lot::Mutex;

/// A volume's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Free for this process.
    pub free: u64,
    /// In all.
    pub size: u64,
}

/// The volumes of a machine.
pub trait Volumes: Send + Sync + 'static {
    /// The space of the volume that holds a folder. None if it can't be read.
    fn space(&self, folder: &Path) -> Option<Space>;
}

/// The operating system's volumes.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsVolumes;

impl Volumes for OsVolumes {
    fn space(&self, folder: &Path) -> Option<Space> {
        let volume = rustix::fs::statvfs(folder).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(volume.f_frsize);
        Some(Space { free: bytes(volume.f_bavail), size: bytes(volume.f_blocks) })
    }
}

/// The store's volume, as last measured.
pub struct Volume {
    folder: PathBuf,
    settings: Settings,
    volumes: Arc<dyn Volumes>,
    last: Mutex<Option<Space>>,
    /// True while so many other regions are full that a majority would be lost with them.
    others_full: AtomicBool,
}

/// What a vault reports of its volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// As measured.
    pub space: Space,
    /// Bytes that must stay free.
    pub keep_free: u64,
    /// True if the reserve file is there.
    pub has_reserve: bool,
}

impl Report {
    /// True if less is free than must stay free.
    pub const fn is_full(&self) -> bool {
        self.space.free < self.keep_free
    }
}

impl Volume {
    /// Measures once.
    pub fn new(folder: PathBuf, settings: Settings, volumes: Arc<dyn Volumes>) -> Self {
        let volume =
            Self { folder, settings, volumes, last: Mutex::default(), others_full: AtomicBool::new(false) };
        volume.measure();
        volume
    }

    /// Measures, and makes the reserve if there is plenty of room again.
    pub(crate) fn measure(&self) {
        let space = self.volumes.space(&self.folder);
        let was_full = self.is_full();
        *self.last.lock() = space;
        match (was_full, self.is_full()) {
            (false, true) => tracing::error!(
                folder = %self.folder.display(),
                "the store's volume is nearly full: this vault takes only what ends an attempt or deletes a key, until there is space again"
            ),
            (true, false) => tracing::info!("the store's volume has room again"),
            _ => {}
        }
    }

    /// None if the space can't be read.
    pub fn report(&self) -> Option<Report> {
        let space = (*self.last.lock())?;
        let keep_free = self.settings.keep_free(space.size);
        Some(Report { space, keep_free, has_reserve: self.reserve().exists() })
    }

    /// True if the volume has less free space than must stay free.
    pub(crate) fn is_full(&self) -> bool {
        self.last.lock().is_some_and(|s| s.free < self.settings.keep_free(s.size))
    }

    /// True if a snapshot may be staged. Staging ends long before the vault refuses service: a liar's snapshot must not bring it there.
    pub(crate) fn may_stage(&self) -> bool {
        self.last.lock().is_none_or(|s| s.free >= self.settings.keep_free(s.size).saturating_mul(2))
    }

    /// True if a leader must refuse what makes the store grow: its own volume is full, or a majority's would be.
    pub(crate) fn refuses(&self) -> bool {
        self.is_full() || self.others_full.load(Ordering::Relaxed)
    }

    /// Records what the other regions report: `full` of `members` have no room. Returns true if this vault has none and a majority has: then another one should
    /// lead.
    pub(crate) fn others(&self, full: usize, members: usize) -> bool {
        let lost = |full: usize| 2 * members.saturating_sub(full) <= members;
        self.others_full.store(full > 0 && lost(full), Ordering::Relaxed);
        self.is_full() && !lost(full + 1)
    }

    fn reserve(&self) -> PathBuf {
        reserve(&self.folder)
    }

    /// Makes the reserve if it is missing and the volume has room for it twice.
    pub(crate) fn keep_reserve(&self) {
        let bytes = self.settings.reserve();
        let Some(report) = self.report().filter(|r| !r.has_reserve && bytes > 0) else { return };
        if report.space.free < report.keep_free.saturating_add(bytes.saturating_mul(2)) {
            return;
        }
        if let Err(error) = make_reserve(&self.folder, bytes) {
            tracing::warn!(%error, "the reserve file can't be made: this vault may not start on a full disk");
        }
    }
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Volume({})", self.folder.display())
    }
}

fn reserve(folder: &Path) -> PathBuf {
    folder.join("reserve")
}

/// Below this a vault gives its reserve up at the start. A start writes a few pages.
const START: u64 = 16 << 20;

/// Gives the reserve up if the volume is full. Call it before the store is opened.
pub fn make_room_to_start(folder: &Path, volumes: &dyn Volumes) {
    let reserve = reserve(folder);
    if volumes.space(folder).is_none_or(|s| s.free >= START) || !reserve.exists() {
        return;
    }
    if let Err(error) = std::fs::remove_file(&reserve) {
        tracing::error!(%error, "the volume is full, and the reserve file can't be removed");
    } else {
        tracing::warn!("the volume is full: the reserve file was removed, so that this vault can start");
    }
}

/// A reserve is there as a whole or not at all.
fn make_reserve(folder: &Path, bytes: u64) -> std::io::Result<()> {
    let beside = folder.join("reserve.new");
    let file = std::fs::File::create(&beside)?;
    let made = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)
        .map_err(std::io::Error::from)
        .and_then(|()| file.sync_all())
        .and_then(|()| bkv_files::publish(&beside, &reserve(folder)));
    if made.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A volume of 1 GiB of which the test says how much is free.
    #[derive(Default)]
    struct Simulated(Mutex<u64>);

    impl Volumes for Simulated {
        fn space(&self, _: &Path) -> Option<Space> {
            Some(Space { free: *self.0.lock(), size: 1 << 30 })
        }
    }

    fn volume(folder: &Path, simulated: &Arc<Simulated>) -> Volume {
        let settings = Settings { keep_free_mib: Some(100), reserve_mib: 1 };
        Volume::new(folder.to_owned(), settings, simulated.clone())
    }

    #[test]
    fn s27_the_reserve_is_made_with_room_and_given_up_on_a_full_disk() {
        let folder = tempfile::tempdir().unwrap();
        let simulated = Arc::new(Simulated::default());
        let volume = volume(folder.path(), &simulated);
        assert!(volume.is_full());
        volume.keep_reserve();
        assert!(!volume.report().unwrap().has_reserve, "no reserve is made on a full disk");
        *simulated.0.lock() = 200 * MIB;
        volume.measure();
        volume.keep_reserve();
        assert!(volume.report().unwrap().has_reserve && !volume.is_full());
        assert_eq!(std::fs::metadata(reserve(folder.path())).unwrap().len(), MIB);
        make_room_to_start(folder.path(), simulated.as_ref());
        assert!(volume.report().unwrap().has_reserve, "the disk is not full");
        *simulated.0.lock() = MIB;
        make_room_to_start(folder.path(), simulated.as_ref());
        assert!(!volume.report().unwrap().has_reserve);
        make_room_to_start(folder.path(), simulated.as_ref());
    }

    /// S48: rows of a snapshot are compared with their signed digest only at the end. A liar's rows end where service still goes on.
    #[test]
    fn s48_staging_ends_long_before_service_does() {
        let folder = tempfile::tempdir().unwrap();
        let simulated = Arc::new(Simulated::default());
        let volume = volume(folder.path(), &simulated);
        for (free, stages, full) in [
            (0, false, true),
            (100, false, false),
            (199, false, false),
            (200, true, false),
            (500, true, false),
        ] {
            *simulated.0.lock() = free * MIB;
            volume.measure();
            assert_eq!((volume.may_stage(), volume.is_full()), (stages, full), "{free} MiB");
        }
    }

    /// S50: with two of three regions full, one more entry could end the majority.
    #[test]
    fn s50_a_leader_with_room_refuses_while_a_majority_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let simulated = Arc::new(Simulated(Mutex::new(500 * MIB)));
        let volume = volume(folder.path(), &simulated);
        for (full, members, refuses) in [
            (0, 1, false),
            (0, 3, false),
            (1, 3, false),
            (2, 3, true),
            (2, 5, false),
            (3, 5, true),
            (0, 5, false),
        ] {
            assert!(!volume.others(full, members), "it has room itself");
            assert_eq!(volume.refuses(), refuses, "{full} of {members}");
        }
        *simulated.0.lock() = 99 * MIB;
        volume.measure();
        assert!(volume.refuses(), "its own");
        for (full, members, another) in
            [(0, 1, false), (0, 3, true), (1, 3, false), (1, 5, true), (2, 5, false)]
        {
            assert_eq!(volume.others(full, members), another, "another leads: {full} of {members}");
        }
    }
}
