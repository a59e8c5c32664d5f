//! The steps of one backup, from the ledger before it to the ledger after it.

use std::collections::HashSet;
use std::io::{Read, Write as _};
use std::path::PathBuf;

use bkv_stream::{BackupKey, Control};
use minicbor::bytes::ByteArray;

use super::cutting::Cutting;
use super::parent::Parent;
use super::session::Session;
use super::{Options, Report, Source};
use crate::clock::Clock;
use crate::destination::Destination;
use crate::error::{Error, Result};
use crate::format::head::{Head, Keys};
use crate::format::ledger::{Kept, Ledger, Replaced, Series};
use crate::format::manifest::{Content, Counts, LeftOut, MAX_LISTED, Manifest, Reason};
use crate::format::names::Kind;
use crate::format::secret::{Secret, random_id};
use crate::format::{Folder, Id, sha256};
use crate::generation::Generation;
use crate::objects::{Push, Seen, Stored, Uploads, write_object};
use crate::vault::Naming;

/// Where a generation is written.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) destination: &'a dyn Destination,
    pub(crate) folder: &'a Folder,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) key: &'a BackupKey,
}

/// A generation that is written whole, and what the ledger will say of it.
pub(crate) struct Finished {
    pub(super) series: Series,
    pub(super) kept: Kept,
    pub(super) replaced: Vec<Replaced>,
    manifest: Manifest,
    left_out: Vec<(PathBuf, Reason)>,
    began_anew: Option<String>,
}

impl Finished {
    pub(crate) fn report(self, naming: Naming) -> Report {
        let Self { kept, manifest, left_out, began_anew, .. } = self;
        Report { generation: kept.generation, manifest, naming, left_out, began_anew }
    }
}

/// What is known before the first file is read.
pub(super) struct Job {
    series: Series,
    before: Option<Kept>,
    parent: Option<Generation>,
    began_anew: Option<String>,
    generation: Id,
    seed: Option<Secret>,
    unsound: HashSet<Id>,
    keys: Keys,
    begun_ms: i64,
    content: Content,
}

/// What the session made.
pub(super) struct Made {
    pub(super) stored: Stored,
    pub(super) counts: Counts,
    pub(super) left_out: Vec<(PathBuf, Reason)>,
    /// What is stored anew in the place of damaged blobs.
    pub(super) replaced: Vec<Replaced>,
}

/// Ends the upload threads, also when the backup fails or panics.
struct Closing<'a>(&'a Uploads<'a>);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Job {
    pub(super) fn begin(
        place: Place<'_>,
        ledger: &Ledger,
        (generation, seed): (Id, Option<Secret>),
        source: &Source<'_>,
        options: &Options<'_>,
    ) -> Result<Self> {
        let begun_ms = place.clock.now_ms();
        let sources = source.description();
        let series = match ledger.series(&options.label) {
            Some(series) if series.sources != sources && !options.other_sources => {
                return Err(Error::OtherSources {
                    label: series.label.clone(),
                    before: series.sources.clone(),
                });
            }
            Some(series) => Series { sources, ..series.clone() },
            None => Series { id: random_id()?, label: options.label.clone(), sources, last: 0 },
        };
        let before = ledger.generations(&series.id).next_back().cloned();
        let usable =
            before.as_ref().filter(|kept| kept.content == Content::Tree && source.content() == Content::Tree);
        let opened = usable.map(|kept| Generation::open(place.destination, place.folder, place.key, kept));
        let (parent, began_anew) = match opened {
            Some(Ok(parent)) => (Some(parent), None),
            Some(Err(error)) => (None, Some(error.to_string())),
            None => (None, None),
        };
        let head = Head { generation, seeded: seed.is_some(), shape: options.storage.shape };
        let keys = head.keys(place.key, seed.as_ref())?;
        Ok(Self {
            series,
            before,
            parent,
            began_anew,
            generation,
            seed,
            unsound: ledger.unsound(),
            keys,
            begun_ms,
            content: source.content(),
        })
    }

    /// The clear head of the generation.
    pub(super) fn head(&self) -> &[u8] {
        &self.keys.head
    }

    pub(super) fn run(
        mut self,
        place: Place<'_>,
        source: Source<'_>,
        options: &Options<'_>,
        control: Control<'_>,
    ) -> Result<Finished> {
        let uploads = Uploads::new(place.destination, place.folder, options.storage.in_flight);
        let (made, written) = std::thread::scope(|scope| {
            let closing = Closing(&uploads);
            for _ in 0..options.storage.in_flight.clamp(1, 64) {
                scope.spawn(|| uploads.serve());
            }
            let made = self.store(place, source, options, control, &uploads)?;
            let written = uploads.settle()?;
            drop(closing);
            Ok::<_, Error>((made, written))
        })?;
        control.check()?;
        let ((made, lost), (written, new_bytes)) = (made, written);
        self.began_anew = self.began_anew.take().or(lost);
        Self::check_kept(place, &written)?;
        self.finish(place, options, made, new_bytes)
    }

    /// Writes all objects of content. Also returns why the generation before could not be used.
    fn store(
        &self,
        at: Place<'_>,
        source: Source<'_>,
        options: &Options<'_>,
        control: Control<'_>,
        uploads: &Uploads<'_>,
    ) -> Result<(Made, Option<String>)> {
        let stream_key = self.keys.stream.stream_key();
        let how = options.storage.how(options.storage.workers);
        let place = (Kind::Stream, self.generation);
        let mut push = Push::new(uploads, at.folder, place, (&stream_key, &self.keys.aad), how)?;
        match source {
            Source::Bytes(reader) | Source::Pipe(reader) => {
                let bytes = copy(reader, &mut push, control)?;
                if bytes == 0 && !options.allow_empty && self.before.as_ref().is_some_and(|b| b.bytes > 0) {
                    return Err(Error::EmptySource { path: "what was to be backed up".into() });
                }
                let counts = Counts { bytes, ..Counts::default() };
                let (left_out, replaced) = (Vec::new(), Vec::new());
                Ok((Made { stored: push.finish()?, counts, left_out, replaced }, None))
            }
            Source::Folders(paths) => {
                let (parent, lost) = match self.parent(at, options) {
                    Ok(parent) => (parent, None),
                    Err(error) => (None, Some(error.to_string())),
                };
                let cutting = Cutting::new(at.key, at.folder.writer(), options.storage.sizes)?;
                let mut session = Session::new(uploads, at.folder, push, parent, cutting, options, control);
                session.folders(paths, self.before.as_ref().is_some_and(|before| before.files > 0))?;
                let (made, lost_later) = session.finish()?;
                Ok((made, lost.or(lost_later)))
            }
        }
    }

    fn parent<'s>(&'s self, place: Place<'s>, options: &'s Options<'_>) -> Result<Option<Parent<'s>>> {
        let Some(generation) = &self.parent else { return Ok(None) };
        let Place { destination, folder, .. } = place;
        let seen = Seen::list(destination, folder)?;
        Parent::open(generation, destination, folder, seen, self.unsound.clone(), options).map(Some)
    }

    /// A destination that reported success and kept nothing must not get a manifest.
    fn check_kept(place: Place<'_>, written: &[(u128, u64)]) -> Result<()> {
        let Place { destination, folder, .. } = place;
        let seen = Seen::list(destination, folder)?;
        for (name, length) in written {
            if !seen.has(destination, folder, *name, *length)? {
                return Err(Error::NotKept { object: folder.path_of(*name) });
            }
        }
        Ok(())
    }

    /// Writes the manifest.
    fn finish(self, place: Place<'_>, options: &Options<'_>, made: Made, new_bytes: u64) -> Result<Finished> {
        let Place { destination, folder, .. } = place;
        let Made { stored, mut counts, left_out, replaced } = made;
        counts.new_bytes = new_bytes;
        let listed = left_out.iter().take(MAX_LISTED).map(|(path, why)| LeftOut {
            path: std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec(),
            why: *why,
        });
        let mut manifest = Manifest {
            writer: *folder.writer(),
            series: self.series.id,
            label: self.series.label.clone(),
            number: self.series.last + 1,
            before: self.before.as_ref().map(|before| ByteArray::from(before.manifest)),
            begun_ms: self.begun_ms,
            ended_ms: place.clock.now_ms(),
            content: self.content,
            lengths: stored.lengths,
            hash: stored.hash,
            counts,
            left_out: listed.collect(),
            host: options.host.clone(),
            tags: options.tags.clone(),
        };
        // Long paths could exceed the manifest's bound. The counts stay.
        while minicbor::to_vec(&manifest).is_ok_and(|bytes| bytes.len() > crate::format::MAX_MANIFEST / 2)
            && !manifest.left_out.is_empty()
        {
            manifest.left_out.truncate(manifest.left_out.len() / 2);
        }
        let object = manifest.seal(&self.keys)?;
        let name = folder.object(Kind::Manifest, &self.generation, 0);
        write_object(destination, &name, &object)?;
        let there = destination.stat(&name).map_err(|fault| Error::at("look at", &name, fault))?;
        if !there.iter().any(|meta| meta.length == object.len() as u64) {
            return Err(Error::NotKept { object: name });
        }
        let objects = manifest.lengths.layout().map_or(0, |layout| layout.objects);
        let kept = Kept {
            series: self.series.id,
            number: manifest.number,
            generation: self.generation,
            seed: self.seed,
            manifest: sha256(&object),
            manifest_bytes: object.len() as u64,
            begun_ms: manifest.begun_ms,
            ended_ms: manifest.ended_ms,
            content: self.content,
            complete: manifest.is_complete(),
            files: manifest.counts.files,
            bytes: manifest.counts.bytes,
            new_bytes,
            tags: manifest.tags.clone(),
            objects,
        };
        let series = Series { last: manifest.number, ..self.series };
        Ok(Finished { series, kept, replaced, manifest, left_out, began_anew: self.began_anew })
    }
}

fn copy(reader: &mut dyn Read, push: &mut Push<'_>, control: Control<'_>) -> Result<u64> {
    let mut buffer = zeroize::Zeroizing::new(vec![0; 256 << 10]);
    let mut done = 0;
    loop {
        control.check()?;
        let n = match reader.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other.map_err(Error::from_io)?,
        };
        let Some(content) = buffer.get(..n).filter(|content| !content.is_empty()) else { return Ok(done) };
        push.write_all(content).map_err(Error::from_io)?;
        done += n as u64;
        control.progress.bytes(done, None);
    }
}
