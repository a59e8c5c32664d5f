//! The folders that are backed up: walking, attributes, reading files. Nothing here follows a link.

mod attributes;
mod content;
mod walk;

pub(crate) use attributes::{is_kept, of, xattrs};
pub(crate) use content::{Opened, Outcome, unreadable};
pub(crate) use walk::{Found, Step, Walk, reason};

use std::path::Path;

/// Device and inode.
pub type Identity = (u64, u64);

/// Which entries of the sources are backed up.
#[derive(Default)]
pub struct Selection<'a> {
    /// True for what the person excludes. It gets the path and whether it is a folder.
    pub excluded: Option<&'a dyn Fn(&Path, bool) -> bool>,
    /// Leave these out, with a word: the backups' own folder, and this device's state, whose copy would make a twin.
    pub own: Vec<Identity>,
    /// Do not enter other file systems.
    pub one_file_system: bool,
}

impl std::fmt::Debug for Selection<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Selection").field("own", &self.own).finish_non_exhaustive()
    }
}
