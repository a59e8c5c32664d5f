//! The entries of a generation under the paths that a person writes: below the source, or below the source's name if there are several.

use bkv_backups::format::tree::{Entry, TreePath};
use bkv_backups::{Error, Reading, Visited};

use crate::exit::{Exit, Failure, Outcome};

/// Calls `each` with every entry in the order of the tree. The whole tree is proved only when this returns.
pub(crate) fn entries(
    reading: &Reading<'_>,
    mut each: impl FnMut(&[u8], &TreePath, &Entry),
) -> Result<(), Error> {
    let mut source: Vec<u8> = Vec::new();
    let mut last: Option<TreePath> = None;
    reading.list(|visited| match visited {
        Visited::Source { name, .. } => source = name.to_vec(),
        // The core begins again if the first copy of an object does not open.
        Visited::Entry(path, _) if last.as_ref().is_some_and(|last| path <= last) => {}
        Visited::Entry(path, entry) => {
            last = Some(path.clone());
            each(&shown(&source, path), path, entry);
        }
    })
}

/// The name of each source, by which the paths of its entries begin. Empty if there is only one source.
pub(crate) fn source_names(reading: &Reading<'_>) -> Result<Vec<Vec<u8>>, Error> {
    let mut names = Vec::new();
    let mut last = None;
    reading.list(|visited| match visited {
        Visited::Source { path, name } if last.as_deref() != Some(path) => {
            last = Some(path.to_vec());
            names.push(name.to_vec());
        }
        _ => {}
    })?;
    Ok(names)
}

/// The path that a person writes.
pub(crate) fn shown(source: &[u8], path: &TreePath) -> Vec<u8> {
    let below = path.joined();
    if source.is_empty() { below } else { [source, &b"/"[..], &below].concat() }
}

/// The entry with this path.
pub(crate) fn find(reading: &Reading<'_>, wanted: &[u8]) -> Outcome<(TreePath, Entry)> {
    let wanted = wanted.strip_prefix(b"./").or_else(|| wanted.strip_prefix(b"/")).unwrap_or(wanted);
    let wanted = wanted.strip_suffix(b"/").unwrap_or(wanted);
    let mut found = None;
    entries(reading, |path, place, entry| {
        if path == wanted {
            found = Some((place.clone(), entry.clone()));
        }
    })?;
    found.ok_or_else(|| {
        let manifest = reading.manifest();
        Failure::new(
            Exit::NoInput,
            format!(
                "generation {} of '{}' has no '{}'",
                manifest.number,
                manifest.label,
                String::from_utf8_lossy(wanted)
            ),
        )
        .remedy("`bkv ls` shows its paths, and `bkv find` the generations that have a name.")
    })
}
