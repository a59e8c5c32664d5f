//! Walks a source in the order of a tree: a folder before its entries, names sorted by their bytes. It keeps its own stack, so depth costs no stack of
//! the thread, and one folder's names at a time for each level.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Selection;
use crate::format::manifest::Reason;
use crate::format::tree::TreePath;

/// An entry of the source.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: TreePath,
    pub(crate) place: PathBuf,
    pub(crate) meta: Metadata,
}

#[derive(Debug)]
pub(crate) enum Step {
    Found(Box<Found>),
    LeftOut(PathBuf, Reason),
}

struct Level {
    place: PathBuf,
    names: std::vec::IntoIter<OsString>,
}

pub(crate) struct Walk<'a> {
    selection: &'a Selection<'a>,
    device: u64,
    levels: Vec<Level>,
    path: TreePath,
    /// The folder whose entries come next.
    enter: Option<PathBuf>,
}

impl<'a> Walk<'a> {
    /// Begins with the entries of `root`, which must be readable.
    pub(crate) fn new(
        root: &Path,
        number: u32,
        selection: &'a Selection<'a>,
    ) -> io::Result<(Self, Metadata)> {
        let meta = fs::metadata(root)?;
        if !meta.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let levels = vec![Level { place: root.to_owned(), names: names(root)?.into_iter() }];
        let path = TreePath { root: number, steps: Vec::new() };
        Ok((Self { selection, device: meta.dev(), levels, path, enter: None }, meta))
    }

    fn descend(&mut self) -> Option<Step> {
        let place = self.enter.take()?;
        match names(&place) {
            Ok(names) => {
                self.levels.push(Level { place, names: names.into_iter() });
                None
            }
            Err(error) => Some(Step::LeftOut(place, reason(&error))),
        }
    }

    fn visit(&mut self, place: PathBuf, name: OsString) -> Option<Step> {
        // The level of the entry's folder: names of earlier entries at this depth go.
        self.path.steps.truncate(self.levels.len().saturating_sub(1));
        self.path.steps.push(name.into_vec());
        let meta = match fs::symlink_metadata(&place) {
            Ok(meta) => meta,
            Err(error) => return Some(Step::LeftOut(place, reason(&error))),
        };
        if self.selection.own.contains(&(meta.dev(), meta.ino())) {
            return Some(Step::LeftOut(place, Reason::OwnPlace));
        }
        if self.selection.excluded.is_some_and(|excluded| excluded(&place, meta.is_dir())) {
            return None;
        }
        if self.path.steps.len() > 4096 {
            return Some(Step::LeftOut(place, Reason::TooLong));
        }
        let kind = meta.file_type();
        if !(kind.is_dir() || kind.is_file() || kind.is_symlink()) {
            return Some(Step::LeftOut(place, Reason::Special));
        }
        if kind.is_dir() {
            // The mount point itself is kept, as an empty folder.
            if self.selection.one_file_system && meta.dev() != self.device {
                self.enter = None;
            } else {
                self.enter = Some(place.clone());
            }
        }
        Some(Step::Found(Box::new(Found { path: self.path.clone(), place, meta })))
    }
}

impl Iterator for Walk<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.descend() {
                return Some(step);
            }
            let level = self.levels.last_mut()?;
            let Some(name) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            let place = level.place.join(&name);
            if let Some(step) = self.visit(place, name) {
                return Some(step);
            }
        }
    }
}

fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names =
        fs::read_dir(folder)?.map(|entry| entry.map(|e| e.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    Ok(names)
}

pub(crate) fn reason(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Reason::Vanished,
        io::ErrorKind::InvalidFilename => Reason::TooLong,
        _ => Reason::Unreadable,
    }
}
