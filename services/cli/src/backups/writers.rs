//! This device's writers: one for each destination and key, below the device's state. A writer's folder has its state, its lock, and the destination's path.
//!
//! A destination that was moved, such as a disk under another mount point, keeps its writer. One that was copied gets a new writer: two histories of one
//! writer would contradict each other.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use bkv_backups::format::{Id, Tag};
use bkv_backups::{State, StateFile};
use bkv_core::hash::tagged;

use super::Place;
use crate::device::{DeviceState, Kept};
use crate::exit::{Exit, Failure, Outcome};

const STATE: &str = "state";
const PLACE: &str = "place";
/// The most states that were set aside. Only a loop would make more.
const ASIDE: u32 = 1000;

/// The writers of one key.
#[derive(Debug, Clone)]
pub(crate) struct Writers {
    root: PathBuf,
    /// Begins the names of this key's writers. It reveals nothing of the key.
    key: String,
    tag: Tag,
}

fn failed(doing: &str, path: &Path, e: &std::io::Error) -> Failure {
    Failure::new(Exit::CantCreate, format!("can't {doing} {}: {e}", path.display()))
        .remedy("Make the folder of this device's state writable, or use another with --state.")
}

impl Writers {
    pub(crate) fn of(device: &DeviceState, kept: &Kept, tag: Tag) -> Outcome<Self> {
        let key = hex::encode(kept.key()?.key_check(&[0; 16])?);
        Ok(Self { root: device.writers(), key, tag })
    }

    fn folder(&self, place: &Place) -> PathBuf {
        let hash = tagged("bkv/writer-place/1", &[self.tag.folder().as_bytes(), place.identity()]);
        let hash: String = hex::encode(hash.0).chars().take(32).collect();
        self.root.join(format!("{}-{hash}", self.key))
    }

    /// The folders of this key's writers.
    fn all(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let ours = |e: &fs::DirEntry| e.file_name().to_string_lossy().starts_with(&self.key);
        let mut folders: Vec<PathBuf> = entries.filter(ours).map(|e| e.path()).collect();
        folders.sort_unstable();
        folders
    }

    fn lies_at(&self, state: &State, place: &Path) -> bool {
        place.join(self.tag.folder()).join(hex::encode(state.writer)).is_dir()
    }

    /// The states of this device whose writers have backups at this place.
    pub(crate) fn here(&self, place: &Place) -> Outcome<Vec<State>> {
        let own = self.folder(place);
        let there = place.writers(&self.tag)?;
        let mut states = Vec::new();
        for folder in self.all() {
            let Some(state) = StateFile::peek(&folder.join(STATE))? else { continue };
            // Of the writer of this place it is known that it must be here.
            if folder == own || there.contains(&hex::encode(state.writer)) {
                states.push(state);
            }
        }
        Ok(states)
    }

    /// The writers of this device, wherever they back up to.
    pub(crate) fn ids(&self) -> Outcome<Vec<Id>> {
        let mut ids = Vec::new();
        for folder in self.all() {
            ids.extend(StateFile::peek(&folder.join(STATE))?.map(|state| state.writer));
        }
        Ok(ids)
    }

    /// The state file of this place's writer, for a backup. Its folder exists when this returns. A writer of a place that is no longer there goes on here: then its place before.
    pub(crate) fn state_file(&self, place: &Place) -> Outcome<(PathBuf, Option<PathBuf>)> {
        let folder = self.folder(place);
        let mut before = None;
        if !folder.exists() {
            if let Some((moved, from)) = self.moved_from(place)? {
                fs::rename(&moved, &folder).map_err(|e| failed("rename", &moved, &e))?;
                before = Some(from);
            } else {
                let mut builder = fs::DirBuilder::new();
                builder
                    .recursive(true)
                    .mode(0o700)
                    .create(&folder)
                    .map_err(|e| failed("make", &folder, &e))?;
            }
        }
        let named = folder.join(PLACE);
        bkv_files::replace(&named, place.identity(), bkv_files::Mode::Private)
            .map_err(|e| failed("write", &named, &e))?;
        Ok((folder.join(STATE), before))
    }

    /// The state file that a backup would use. It moves no writer: a disk that is not plugged in looks as one that was moved. There may be no such file.
    pub(crate) fn state_of_next(&self, place: &Place) -> Outcome<PathBuf> {
        let folder = self.folder(place);
        if folder.exists() {
            return Ok(folder.join(STATE));
        }
        if let Some((moved, _)) = self.moved_from(place)? {
            return Ok(moved.join(STATE));
        }
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.root).map_err(|e| failed("make", &self.root, &e))?;
        Ok(self.root.join(STATE))
    }

    /// The state file if this device has backed up to this place. A copy of a place that is not there now does not count.
    pub(crate) fn known(&self, place: &Place) -> Option<PathBuf> {
        Some(self.folder(place).join(STATE)).filter(|state| state.exists())
    }

    /// The folder of a writer whose backups are here and no longer at its own place, and that place.
    fn moved_from(&self, place: &Place) -> Outcome<Option<(PathBuf, PathBuf)>> {
        for folder in self.all() {
            let (Some(state), Ok(before)) =
                (StateFile::peek(&folder.join(STATE))?, fs::read(folder.join(PLACE)))
            else {
                continue;
            };
            // What lay on a server may still be there. Then this is a copy, which gets a new writer.
            let Some(before) = Place::before(&before) else { continue };
            if place.has(&self.tag, &state.writer)? && !self.lies_at(&state, &before) {
                return Ok(Some((folder, before)));
            }
        }
        Ok(None)
    }

    /// Sets the state aside: the next backup begins a new writer.
    pub(crate) fn begin_anew(state: &Path) -> Outcome {
        for n in 1..=ASIDE {
            let aside = state.with_extension(format!("aside-{n}"));
            if aside.exists() {
                continue;
            }
            return match fs::rename(state, &aside) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("rename", state, &e)),
                _ => Ok(()),
            };
        }
        Err(Failure::new(
            Exit::CantCreate,
            format!("too many states are set aside beside {}", state.display()),
        )
        .remedy("Remove those that end in .aside-N."))
    }
}

#[cfg(test)]
mod tests {
    use bkv_client::BackupKey;

    use super::*;
    use crate::args::Device;
    use crate::backups::Remote;
    use crate::device::Mode;

    fn kept(key: u8) -> Kept {
        Kept::new(Mode::Digits, &BackupKey::from_bytes(&[key; 32]), &[1; 32], &[0; 32], [3; 16])
    }

    fn open(path: &Path) -> Place {
        Place::open(path, &Remote::default(), Exit::NoInput).unwrap()
    }

    /// A writer with backups in a new folder.
    fn writer(writers: &Writers, place: &Path) -> State {
        fs::create_dir(place).unwrap();
        let (file, _) = writers.state_file(&open(place)).unwrap();
        let state = State::new(false).unwrap();
        StateFile::lock(&file, false).unwrap().save(&state).unwrap();
        fs::create_dir_all(place.join(writers.tag.folder()).join(hex::encode(state.writer))).unwrap();
        state
    }

    #[test]
    fn a_place_that_moved_keeps_its_writer_and_a_copy_or_another_key_gets_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let device = DeviceState::open(&Device { state: Some(dir.path().join("state")) }).unwrap();
        let tag = Tag::new(&[0; 32], &[1; 32]);
        let writers = Writers::of(&device, &kept(7), tag).unwrap();
        let (one, two, copy) = (dir.path().join("one"), dir.path().join("two"), dir.path().join("copy"));
        let state = writer(&writers, &one);
        let ids = |place: &Path| -> Vec<_> {
            writers.here(&open(place)).unwrap().iter().map(|state| state.writer).collect()
        };
        assert_eq!(ids(&one), [state.writer]);
        let other = Writers::of(&device, &kept(8), tag).unwrap();
        assert!(other.here(&open(&one)).unwrap().is_empty());
        // A copy: both have the backups.
        fs::create_dir_all(copy.join(tag.folder()).join(hex::encode(state.writer))).unwrap();
        assert_eq!(writers.known(&open(&copy)), None);
        assert!(writers.known(&open(&one)).is_some());
        let peek = |path: &Path| StateFile::peek(path).unwrap().map(|state| state.writer);
        let next = |place: &Path| writers.state_file(&open(place)).unwrap();
        assert_eq!(peek(&next(&copy).0), None);
        // A disk that is unplugged looks the same as one that was moved: only a backup moves the writer.
        fs::rename(&one, &two).unwrap();
        assert_eq!(ids(&two), [state.writer], "a reader knows it before the next backup");
        assert_eq!(writers.known(&open(&two)), None);
        assert_eq!(peek(&writers.state_of_next(&open(&two)).unwrap()), Some(state.writer));
        fs::rename(&two, &one).unwrap();
        assert!(writers.known(&open(&one)).is_some());
        fs::rename(&one, &two).unwrap();
        let (moved, before) = next(&two);
        assert_eq!((peek(&moved), before), (Some(state.writer), Some(one.canonicalize().unwrap_or(one))));
        assert_eq!(next(&two).1, None);
        Writers::begin_anew(&moved).unwrap();
        assert_eq!(peek(&next(&two).0), None);
    }
}
