//! Restores a generation to a folder. Nothing appears at the destination before it is proved.
//!
//! Order: tree (all of it is proved and checked), space, blobs and packs into staging, hard links, attributes of folders, rename. Every name in a tree is one name, each
//! folder is made by this restore, and no link is followed. So nothing is written outside the staging folder.

mod attributes;
mod fetch;
mod staging;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bkv_stream::{Cancel, Control};
use parking_lot::Mutex;

use crate::contents::Reading;
use crate::error::{Error, Result};
use crate::format::tree::{Attributes, Entry, Item, Kind, TreePath};
use attributes::Permissions;
use fetch::{Fetch, Fetches, Member};
use staging::Staging;

/// How a restore is made.
#[derive(Default)]
pub struct Options<'a> {
    /// True for what is restored. Folders on the way are made.
    pub included: Option<&'a dyn Fn(&TreePath) -> bool>,
    /// Publish what was proved, and list what was not.
    pub keep_going: bool,
    /// Also set owners, set-user-id and set-group-id.
    pub preserve_all: bool,
    /// Blobs that are read at the same time. Each takes the size of an object in memory.
    pub in_flight: usize,
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("keep_going", &self.keep_going).finish_non_exhaustive()
    }
}

/// The result of a restore.
#[derive(Debug, Default)]
pub struct Report {
    /// Regular files.
    pub files: u64,
    /// Bytes of their data.
    pub bytes: u64,
    /// Files that were not proved, and why. They are not at the destination.
    pub failed: Vec<(PathBuf, Error)>,
    /// Attributes and links that the destination can't hold, and why.
    pub not_kept: Vec<(PathBuf, String)>,
}

/// What the workers add to.
#[derive(Default)]
struct Tally {
    report: Report,
    fatal: Option<Error>,
}

/// A folder whose attributes are set at the end.
struct FolderLater {
    place: PathBuf,
    attributes: Attributes,
}

/// Removes the folders that killed restores to `destination` have left, and returns their paths.
pub fn clear_leftovers(destination: &Path) -> Vec<PathBuf> {
    staging::clear(destination)
}

/// Fails if `destination` is neither absent nor an empty folder. [`restore`] fails too, but only after it has read what a backup consists of.
pub fn check_destination(destination: &Path) -> Result<()> {
    staging::check(destination).map(drop)
}

/// Restores to `destination`, which must be absent or an empty folder.
pub fn restore(
    reading: &Reading<'_>,
    destination: &Path,
    options: &Options<'_>,
    control: Control<'_>,
) -> Result<Report> {
    let Proved { bytes, first_names } = prove(reading, options)?;
    staging::check_space(destination, bytes)?;
    let staging = Staging::create(destination)?;
    let permissions = Permissions::below(staging.path(), options.preserve_all)?;
    let tally = Mutex::new(Tally::default());
    let work = Work {
        reading,
        root: staging.path(),
        permissions: &permissions,
        tally: &tally,
        cancel: control.cancel,
        keep_going: options.keep_going,
    };
    let later = Plan { work: &work, options, control, bytes, first_names }.carry_out()?;
    let mut tally = tally.into_inner();
    if let Some(error) = tally.fatal.take() {
        return Err(error);
    }
    // A folder whose parent changes must be writable while it is moved.
    let moved = |later: &FolderLater| staging.is_inside() && later.place.parent() == Some(staging.path());
    let (last, first): (Vec<_>, Vec<_>) = later.into_iter().partition(moved);
    for FolderLater { place, mut attributes } in first.into_iter().rev() {
        if staging.is_inside() && place == staging.path() {
            attributes.mode |= 0o700;
        }
        permissions.folder(&place, &attributes, &mut tally.report.not_kept);
    }
    control.check()?;
    staging.publish(&mut tally.report.not_kept)?;
    for FolderLater { place, attributes } in last {
        let place = destination.join(place.file_name().unwrap_or_default());
        permissions.folder(&place, &attributes, &mut tally.report.not_kept);
    }
    Ok(tally.report)
}

/// A file with several names, by its source and the first of them.
type FirstName = (u32, Vec<u8>);

/// What the first pass over the tree found.
#[derive(Default)]
struct Proved {
    /// Bytes of the chosen files.
    bytes: u64,
    /// Files of which another name was chosen, and not the first one. Their content goes under a temporary name, to which the chosen names are linked.
    first_names: HashMap<FirstName, OsString>,
}

/// Reads the whole tree once.
fn prove(reading: &Reading<'_>, options: &Options<'_>) -> Result<Proved> {
    // Of each file with several names: its bytes, if its first name was not chosen.
    type Linked = HashMap<FirstName, Option<u64>>;
    let begin = || (Proved::default(), Linked::new());
    let (proved, _) = reading.items(begin, |(proved, linked), item| {
        let Item::Entry(path, entry) = item else { return Ok(()) };
        let included = is_included(options, &path);
        match entry.kind {
            Kind::File { data, linked: has_links, .. } => {
                if included {
                    proved.bytes = proved.bytes.saturating_add(data);
                }
                if has_links {
                    linked.insert((path.root, path.joined()), (!included).then_some(data));
                }
            }
            Kind::Hardlink(target) => {
                let first_name = (path.root, target);
                // A hard link whose target is no file before it could lead through a symbolic link.
                let Some(not_chosen) = linked.get_mut(&first_name) else {
                    let what = "a hard link's target is no file before it";
                    return Err(Error::damaged(&reading.generation.name(), what));
                };
                if included && let Some(data) = not_chosen.take() {
                    proved.bytes = proved.bytes.saturating_add(data);
                    proved.first_names.insert(first_name, staging::temporary_name()?);
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(proved)
}

fn is_included(options: &Options<'_>, path: &TreePath) -> bool {
    options.included.is_none_or(|included| included(path))
}

/// What the workers share.
struct Work<'a> {
    reading: &'a Reading<'a>,
    root: &'a Path,
    permissions: &'a Permissions,
    tally: &'a Mutex<Tally>,
    cancel: &'a Cancel,
    keep_going: bool,
}

/// What only the thread that reads the tree uses.
struct Plan<'a> {
    work: &'a Work<'a>,
    options: &'a Options<'a>,
    control: Control<'a>,
    /// Bytes to restore.
    bytes: u64,
    first_names: HashMap<FirstName, OsString>,
}

struct Open {
    place: PathBuf,
    attributes: Attributes,
    made: bool,
}

/// What the second pass over the tree remembers.
#[derive(Default)]
struct Pass {
    root: PathBuf,
    later: Vec<FolderLater>,
    /// The folders on the way to the present entry. One is made once it, or something below it, is chosen.
    open: Vec<Open>,
    links: Vec<(PathBuf, PathBuf)>,
    pack: Option<Fetch>,
}

impl Plan<'_> {
    fn carry_out(&self) -> Result<Vec<FolderLater>> {
        let in_flight = self.options.in_flight.clamp(1, 64);
        let fetches = Fetches::new(in_flight);
        let work = self.work;
        std::thread::scope(|scope| {
            let _closing = fetches.closing();
            for _ in 0..in_flight {
                scope.spawn(|| fetches.serve(|fetch| work.fetch(fetch)));
            }
            let mut pass = self.work.reading.items(Pass::default, |pass, item| {
                self.control.check()?;
                let tally = self.work.tally.lock();
                if tally.fatal.is_some() {
                    return Err(Error::Cancelled);
                }
                // The workers have no access to the caller's progress.
                self.control.progress.bytes(tally.report.bytes, Some(self.bytes));
                drop(tally);
                self.item(pass, item, &fetches)
            });
            if let Ok(pass) = &mut pass
                && let Some(pack) = pass.pack.take()
            {
                fetches.push(pack);
            }
            fetches.settle();
            // A worker's error is the cause of a cancelled pass.
            if let Some(error) = self.work.tally.lock().fatal.take() {
                return Err(error);
            }
            let pass = pass?;
            for (place, target) in &pass.links {
                self.link(place, target);
            }
            for name in self.first_names.values() {
                // It is not there if its content did not read.
                let _ = std::fs::remove_file(work.root.join(name));
            }
            Ok(pass.later)
        })
    }

    fn item(&self, pass: &mut Pass, item: Item, fetches: &Fetches) -> Result<()> {
        match item {
            Item::Root(root) => {
                pass.open.clear();
                pass.root = self.work.root.join(bytes_path(&root.name));
                if root.name.is_empty() {
                    let place = self.work.root.to_owned();
                    pass.later.push(FolderLater { place, attributes: root.attributes });
                } else {
                    make_folder(&mut pass.later, &pass.root, &root.attributes)?;
                }
            }
            Item::Pack(pack) => {
                if let Some(before) = pass.pack.replace(Fetch { blob: pack.blob, members: Vec::new() }) {
                    fetches.push(before);
                }
            }
            Item::Entry(path, entry) => self.entry(pass, &path, entry, fetches)?,
        }
        Ok(())
    }

    fn entry(&self, pass: &mut Pass, path: &TreePath, entry: Entry, fetches: &Fetches) -> Result<()> {
        let mut place = pass.root.clone();
        for step in &path.steps {
            place.push(bytes_path(step));
        }
        let depth = path.steps.len().saturating_sub(1);
        pass.open.truncate(depth);
        let included = is_included(self.options, path);
        if entry.kind == Kind::Folder {
            pass.open.push(Open { place, attributes: entry.attributes, made: false });
            return if included { make_open(pass) } else { Ok(()) };
        }
        if included {
            make_open(pass)?;
        } else if let (Kind::File { .. }, Some(name)) =
            (&entry.kind, self.first_name(path.root, path.joined()))
        {
            place = self.work.root.join(name);
        } else {
            return Ok(());
        }
        match entry.kind {
            Kind::Folder => {}
            Kind::Symlink(target) => {
                let made = std::os::unix::fs::symlink(bytes_path(&target), &place);
                let mut tally = self.work.tally.lock();
                match made {
                    Ok(()) => {
                        self.work.permissions.symlink(&place, &entry.attributes, &mut tally.report.not_kept);
                    }
                    Err(error) => tally.report.not_kept.push((place, format!("symbolic link: {error}"))),
                }
            }
            Kind::Hardlink(target) => {
                let restored = pass.root.join(bytes_path(&target));
                let first = self.first_name(path.root, target).map(|name| self.work.root.join(name));
                pass.links.push((place, first.unwrap_or(restored)));
            }
            Kind::File { size, data, place: at, extents, .. } => {
                let member = Member { place, attributes: entry.attributes, size, data, offset: 0, extents };
                match at {
                    crate::format::tree::Place::Nowhere => self.work.empty(&member),
                    crate::format::tree::Place::Blob(blob) => {
                        fetches.push(Fetch { blob, members: vec![member] });
                    }
                    crate::format::tree::Place::Pack(offset) => {
                        if let Some(pack) = &mut pass.pack {
                            pack.members.push(Member { offset: u64::from(offset), ..member });
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The temporary name of a file whose first name was not chosen.
    fn first_name(&self, root: u32, path: Vec<u8>) -> Option<&OsString> {
        self.first_names.get(&(root, path))
    }

    /// Links files after all content is there. A target that failed is listed.
    fn link(&self, place: &Path, target: &Path) {
        if let Err(error) = std::fs::hard_link(target, place) {
            self.work.tally.lock().report.not_kept.push((place.to_owned(), format!("hard link: {error}")));
        }
    }
}

/// Makes the folders on the way.
fn make_open(pass: &mut Pass) -> Result<()> {
    // If a folder was made, those above it were.
    let made = pass.open.iter().rposition(|open| open.made).map_or(0, |last| last + 1);
    for open in pass.open.iter_mut().skip(made) {
        make_folder(&mut pass.later, &open.place, &open.attributes)?;
        open.made = true;
    }
    Ok(())
}

fn make_folder(later: &mut Vec<FolderLater>, place: &Path, attributes: &Attributes) -> Result<()> {
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
        .create(place)
        .map_err(|error| Error::file("create", place, error))?;
    later.push(FolderLater { place: place.to_owned(), attributes: attributes.clone() });
    Ok(())
}

fn bytes_path(bytes: &[u8]) -> &Path {
    Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes))
}
