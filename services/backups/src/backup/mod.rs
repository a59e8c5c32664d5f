//! Makes one generation of one series.
//!
//! Order: objects, manifest, ledger, vault. Killed anywhere, the last complete generation is whole, and the next run of the same call ends well: a
//! generation that no ledger names does not exist, and its objects are removed by a later prune.

mod cutting;
mod job;
mod packing;
mod parent;
mod session;

use std::io::Read;
use std::path::PathBuf;

use bkv_stream::Control;

use crate::error::{Error, Result};
use crate::format::Id;
use crate::format::ledger::Ledger;
use crate::format::manifest::{Content, Counts, Manifest, Reason};
use crate::format::secret::{Secret, random_id};
use crate::format::stream::Shape;
use crate::objects::How;
use crate::source::Selection;
use crate::vault::Naming;
use crate::writer::Writer;
pub(crate) use job::{Finished, Place};

/// Sizes that decide what becomes a blob and where packs end.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Files of this length or more are blobs of their own.
    pub blob: u64,
    /// A pack may end after a file once it has this length.
    pub pack_least: u64,
    /// Mean length from there to the cut.
    pub pack_mean: u64,
    /// No pack is longer. At most 8 MiB, which a reader accepts.
    pub pack_most: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { blob: 1 << 20, pack_least: 1 << 20, pack_mean: 3 << 20, pack_most: 8 << 20 }
    }
}

/// How streams are stored.
#[derive(Debug, Clone, Copy)]
pub struct Storage {
    /// Segments and objects.
    pub shape: Shape,
    /// Compress with zstd where it shrinks the content.
    pub compress: bool,
    /// Pad to Padmé lengths.
    pub pad: bool,
    /// Objects that are written at the same time. Each takes the size of an object in memory.
    pub in_flight: usize,
    /// Threads that encrypt a large file.
    pub workers: usize,
    /// Blobs and packs.
    pub sizes: Sizes,
}

impl Default for Storage {
    fn default() -> Self {
        let workers = bkv_stream::Options::default().workers;
        Self {
            shape: Shape::default(),
            compress: true,
            pad: true,
            in_flight: 4,
            workers,
            sizes: Sizes::default(),
        }
    }
}

impl Storage {
    pub(crate) fn how(&self, workers: usize) -> How {
        How { shape: self.shape, compress: self.compress, pad: self.pad, workers }
    }
}

/// How a backup is made.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// Name of the series.
    pub label: String,
    /// Name of the machine.
    pub host: String,
    /// Tags of the generation.
    pub tags: Vec<String>,
    /// Which entries.
    pub selection: Selection<'a>,
    /// Accept a source without entries although the generation before had some.
    pub allow_empty: bool,
    /// Accept other sources than those of the series.
    pub other_sources: bool,
    /// Read every file, also those that look unchanged.
    pub read_all: bool,
    /// Do not compare inodes, on file systems that make them up.
    pub ignore_inode: bool,
    /// Do not compare ctime.
    pub ignore_ctime: bool,
    /// How it is stored.
    pub storage: Storage,
}

/// What is backed up.
pub enum Source<'a> {
    /// Folders.
    Folders(&'a [PathBuf]),
    /// The bytes of an app, or of a command. They are all there at the end, or `read` fails.
    Bytes(&'a mut dyn Read),
    /// The bytes of a pipe, whose producer may have failed.
    Pipe(&'a mut dyn Read),
}

impl Source<'_> {
    fn content(&self) -> Content {
        match self {
            Self::Folders(_) => Content::Tree,
            Self::Bytes(_) => Content::Bytes,
            Self::Pipe(_) => Content::Pipe,
        }
    }

    /// The sources for people, and to notice that they changed.
    fn description(&self) -> String {
        match self {
            Self::Folders(paths) => {
                paths.iter().map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>().join(", ")
            }
            Self::Bytes(_) | Self::Pipe(_) => "bytes".into(),
        }
    }
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.description())
    }
}

/// Entries that a report lists. [`Counts::failed`] counts all.
pub const MAX_REPORTED: usize = 10_000;

/// The result of a backup.
#[derive(Debug)]
pub struct Report {
    /// Id of the generation.
    pub generation: Id,
    /// What was stored. [`Manifest::is_complete`] is false if something failed.
    pub manifest: Manifest,
    /// Whether the vault knows of it.
    pub naming: Naming,
    /// What was left out or changed while it was read, and why.
    pub left_out: Vec<(PathBuf, Reason)>,
    /// Why the generation before could not be used. Then everything was read and stored anew.
    pub began_anew: Option<String>,
}

impl Report {
    /// Counts of the generation.
    pub fn counts(&self) -> &Counts {
        &self.manifest.counts
    }
}

/// Makes a generation and commits it.
pub fn backup(
    writer: &mut Writer<'_>,
    source: Source<'_>,
    options: &Options<'_>,
    control: Control<'_>,
) -> Result<Report> {
    let outside = writer.outside;
    let place = Place {
        destination: outside.destination,
        folder: &writer.folder,
        clock: outside.clock,
        key: outside.key,
    };
    let names = (random_id()?, Some(Secret::random()?));
    let finished = make(place, writer.ledger(), names, source, options, control, |_| Ok(()))?;
    let (series, kept, replaced) = (&finished.series, &finished.kept, &finished.replaced);
    let naming = writer.commit(|ledger| {
        ledger.series.retain(|other| other.id != series.id);
        ledger.series.push(series.clone());
        ledger.kept.push(kept.clone());
        ledger.replace(replaced.clone());
    })?;
    Ok(finished.report(naming))
}

/// Writes the objects of a generation, its manifest last. `begin` gets the clear head before the first object.
pub(crate) fn make(
    place: Place<'_>,
    ledger: &Ledger,
    names: (Id, Option<Secret>),
    source: Source<'_>,
    options: &Options<'_>,
    control: Control<'_>,
    begin: impl FnOnce(&[u8]) -> Result<()>,
) -> Result<Finished> {
    if options.label.is_empty() || options.label.len() > 255 || options.label.contains('\0') {
        return Err(Error::Refused(
            "a series needs a name of 1 to 255 bytes without NUL; choose another name".into(),
        ));
    }
    if options.storage.sizes.pack_most > 8 << 20 {
        return Err(Error::Refused("a pack has at most 8 MiB; choose a smaller size".into()));
    }
    let job = job::Job::begin(place, ledger, names, &source, options)?;
    begin(job.head())?;
    job.run(place, source, options, control)
}
