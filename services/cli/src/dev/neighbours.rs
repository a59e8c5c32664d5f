//! The other local fleets of this user. A vault that is stopped does not hold its ports, but they are in its fleet's plan: a new fleet takes others.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::layout::Layout;

/// The longest list that is read. A list holds the folders that have a fleet; no user has thousands.
const LONGEST: u64 = 1 << 20;

/// The list of the folders, locked until it is dropped: of two fleets that are made at the same time, the second one waits and sees the first one's ports.
#[derive(Debug)]
pub(super) struct Neighbours {
    list: File,
    folders: BTreeSet<PathBuf>,
}

impl Neighbours {
    /// The list in `state`, the user's folder for state. None if it can't be kept there: the fleet can still be made, and `ports::check` finds a port that is taken.
    pub(super) fn lock(state: Option<PathBuf>) -> Option<Self> {
        let folder = state?.join("bkv-dev");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let list = options.open(folder.join("fleets")).ok()?;
        list.lock().ok()?;
        let mut bytes = Vec::new();
        (&list).take(LONGEST).read_to_end(&mut bytes).ok()?;
        let folders = bytes.split(|b| *b == 0).filter(|f| !f.is_empty());
        let folders = folders.map(|f| PathBuf::from(OsStr::from_bytes(f))).collect();
        Some(Self { list, folders })
    }

    /// Every port that another fleet has in its plan. Folders without a fleet leave the list.
    pub(super) fn ports(&mut self, own: &Path) -> BTreeSet<u16> {
        let mut ports = BTreeSet::new();
        self.folders.retain(|folder| match Layout::open(folder) {
            Ok(layout) => {
                if folder != own {
                    ports.extend(layout.plan.ports());
                }
                true
            }
            Err(_) => false,
        });
        ports
    }

    /// Adds a folder. A list that can't be written costs no more than the notice of later fleets.
    pub(super) fn add(mut self, folder: &Path) {
        self.folders.insert(folder.to_owned());
        let bytes: Vec<u8> =
            self.folders.iter().flat_map(|f| [f.as_os_str().as_bytes(), b"\0"].concat()).collect();
        let _ =
            self.list.rewind().and_then(|()| self.list.set_len(0)).and_then(|()| self.list.write_all(&bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::wishes::Wishes;

    fn make(state: &Path, folder: &Path) -> BTreeSet<u16> {
        let layout = Layout::make(folder, &Wishes::default(), Some(state.to_owned())).unwrap();
        layout.plan.ports().collect()
    }

    #[test]
    fn a_new_fleet_takes_no_port_of_one_that_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        // No program runs in any of these, so their ports are free.
        let fleets: Vec<_> = (0..20).map(|n| make(dir.path(), &dir.path().join(n.to_string()))).collect();
        let all: BTreeSet<u16> = fleets.iter().flatten().copied().collect();
        assert_eq!(all.len(), fleets.iter().map(BTreeSet::len).sum::<usize>());
        let mut list = Neighbours::lock(Some(dir.path().to_owned())).unwrap();
        assert_eq!(list.ports(&dir.path().join("0")).len(), all.len() - fleets[0].len());
    }

    #[test]
    fn a_fleet_that_was_removed_leaves_the_list() {
        let dir = tempfile::tempdir().unwrap();
        let (gone, kept) = (dir.path().join("gone"), dir.path().join("kept\nwith a line"));
        make(dir.path(), &gone);
        let ports = make(dir.path(), &kept);
        std::fs::remove_dir_all(&gone).unwrap();
        let mut list = Neighbours::lock(Some(dir.path().to_owned())).unwrap();
        assert_eq!(list.ports(dir.path()), ports);
        assert_eq!(list.folders, BTreeSet::from([kept.canonicalize().unwrap()]));
    }

    #[test]
    fn without_a_folder_for_state_a_fleet_is_made_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("bkv-dev"), "a file").unwrap();
        assert!(Neighbours::lock(None).is_none());
        assert!(Neighbours::lock(Some(dir.path().to_owned())).is_none());
        Layout::make(&dir.path().join("fleet"), &Wishes::default(), None).unwrap();
    }
}
