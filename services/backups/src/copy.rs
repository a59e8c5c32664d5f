//! Copies a writer's backups to a second destination: the same objects and the newest ledger, byte for byte.
//!
//! An object is written after it was authenticated, then it is read back. So a damaged object is reported and does not spread. A generation's manifest is written after its
//! objects, and the ledger last: until then the second destination shows what it had before. Nothing there is overwritten or deleted. An object that has the name of another
//! one there, such as a short one that a killed copy left, is reported, and the copy goes on.

use std::collections::{HashSet, VecDeque};
use std::io::Read as _;
use std::ops::{ControlFlow, Range};

use bkv_stream::{Cancel, Control};
use parking_lot::Mutex;

use crate::contents::Reading;
use crate::destination::{Destination, Fault, Listed, Meta};
use crate::error::{Error, Result};
use crate::format::names::{Kind, LEDGER_COPIES};
use crate::format::stream::{BlobRef, Lengths};
use crate::format::{Folder, Id};
use crate::generation::{Generation, read_blob};
use crate::ledgers;
use crate::library::{Access, Choice, History};
use crate::objects::{Pull, Seen, in_parallel, write_object};

/// Blobs that are copied at the same time. Each takes the size of three objects in memory.
const THREADS: usize = 2;
/// The decryptor authenticates a segment before it reads this many more.
const READ_AHEAD: u32 = 4;

/// What was copied.
#[derive(Debug, Default)]
pub struct Copied {
    /// Kept generations whose objects are all at the second destination: written and read back now, or listed there before with their lengths.
    pub generations: u64,
    /// Objects that were written, ledgers included.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs and packs that were there already, by the lengths of their objects. They were not read.
    pub blobs_there: u64,
    /// What does not read, or has no free name at the second destination, and was not copied: the first object, and why.
    pub broken: Vec<(String, Error)>,
}

/// Copies the newest ledger of a writer to `to`, with all generations that it keeps or has condemned: a condemned one can be taken back.
pub fn copy(
    access: Access<'_>,
    history: &History,
    to: &dyn Destination,
    control: Control<'_>,
) -> Result<Copied> {
    let named = history
        .named
        .ok_or_else(|| Error::Refused("a backup in one file has no ledger; copy the file itself".into()))?;
    let folder = &history.folder;
    let there = Seen::list(to, folder)?;
    let way = Way { from: access.destination, to, folder, there, tally: Mutex::new(Tally::default()) };
    let mut copied = Copied::default();
    let mut blobs = Blobs::default();
    let condemned = history.ledger.condemned.iter().map(|condemned| (&condemned.kept, false));
    for (kept, is_kept) in history.ledger.kept.iter().map(|kept| (kept, true)).chain(condemned) {
        match way.generation(access, Choice { history, kept }, &mut blobs, &mut copied, control) {
            Ok(is_whole) => copied.generations += u64::from(is_whole && is_kept),
            Err(error) if costs_itself_only(&error) => {
                copied.broken.push((folder.object(Kind::Manifest, &kept.generation, 0), error));
            }
            Err(error) => return Err(error),
        }
    }
    let object = folder.ledger(named.counter, &named.hash, 1);
    let bytes = ledgers::bytes(way.from, folder, named)?;
    let bytes = bytes.ok_or(Error::RolledBack { counter: named.counter, object })?;
    for copy in LEDGER_COPIES {
        let name = folder.ledger(named.counter, &named.hash, copy);
        match way.put(&name, &bytes) {
            Err(error) if costs_itself_only(&error) => copied.broken.push((name, error)),
            result => result?,
        }
    }
    let tally = way.tally.into_inner();
    (copied.objects, copied.bytes) = (tally.objects, tally.bytes);
    Ok(copied)
}

/// True for an error of one object, after which the others can be copied. A disk that dies fails to read some objects, and the others must be saved.
fn costs_itself_only(error: &Error) -> bool {
    let is_read = |doing: &str| matches!(doing, "read" | "read back" | "look at");
    match error {
        Error::Destination { doing, fault: Fault::Other(_) | Fault::Denied(_), .. } => is_read(doing),
        Error::Occupied { .. } => true,
        other => other.is_damage(),
    }
}

/// Blobs of the generations before.
#[derive(Default)]
struct Blobs {
    seen: HashSet<Id>,
    broken: HashSet<Id>,
}

#[derive(Default)]
struct Tally {
    objects: u64,
    bytes: u64,
}

/// From one destination to another.
struct Way<'a> {
    from: &'a dyn Destination,
    to: &'a dyn Destination,
    folder: &'a Folder,
    there: Seen,
    tally: Mutex<Tally>,
}

impl Way<'_> {
    /// Copies blobs, the generation's stream, then its manifest. False if a blob that it needs is broken.
    fn generation(
        &self,
        access: Access<'_>,
        choice: Choice<'_>,
        done: &mut Blobs,
        copied: &mut Copied,
        control: Control<'_>,
    ) -> Result<bool> {
        let reading = Reading::open(access, choice)?;
        let all = reading.references(None)?;
        let ids: Vec<Id> = all.iter().map(|blob| blob.id).collect();
        let blobs: Vec<BlobRef> = all.into_iter().filter(|blob| done.seen.insert(blob.id)).collect();
        let (needed, there): (Vec<_>, Vec<_>) =
            blobs.into_iter().partition(|blob| !self.has(Kind::Blob, &blob.id, &blob.lengths));
        copied.blobs_there += there.len() as u64;
        let mut failed = None;
        let cancel = control.cancel;
        in_parallel(
            &needed,
            THREADS,
            |blob| {
                self.through(&blob.lengths, |tee| {
                    read_blob(tee, self.folder, blob, |pull| drain(pull, cancel))
                })
            },
            |blob, result| {
                control.progress.bytes(self.tally.lock().bytes, None);
                match result {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) if costs_itself_only(&error) => {
                        copied.broken.push((self.folder.object(Kind::Blob, &blob.id, 0), error));
                        done.broken.insert(blob.id);
                        ControlFlow::Continue(())
                    }
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            },
        );
        if let Some(error) = failed {
            return Err(error);
        }
        let lengths = &reading.generation.manifest.lengths;
        if !self.has(Kind::Stream, &choice.kept.generation, lengths) {
            self.through(lengths, |tee| {
                reading.generation.stream(tee, self.folder).read(|pull| drain(pull, cancel))
            })?;
        }
        self.through(lengths, |tee| Generation::open(tee, self.folder, access.key, choice.kept).map(drop))?;
        Ok(!ids.iter().any(|id| done.broken.contains(id)))
    }

    /// True if all objects are listed at the second destination with their lengths.
    fn has(&self, kind: Kind, id: &Id, lengths: &Lengths) -> bool {
        lengths.layout().is_some_and(|layout| {
            (0..layout.objects)
                .all(|index| self.there.lists(self.folder.name(kind, id, index), layout.length(index)))
        })
    }

    /// Copies the objects that `read` reads.
    fn through<T>(&self, lengths: &Lengths, read: impl FnOnce(&Tee<'_>) -> Result<T>) -> Result<T> {
        let segments = lengths.shape().map_or(1, |shape| shape.object_segments().max(1));
        let held = usize::try_from(READ_AHEAD.div_ceil(segments)).unwrap_or(usize::MAX).saturating_add(1);
        let tee = Tee { way: self, held, state: Mutex::new(Held::default()) };
        let result = read(&tee);
        let Held { waiting, failed, .. } = tee.state.into_inner();
        if let Some(error) = failed {
            return Err(error);
        }
        let value = result?;
        for (name, bytes) in waiting {
            self.put(&name, &bytes)?;
        }
        Ok(value)
    }

    /// Writes an object and reads it back.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let is_occupied = match write_object(self.to, name, bytes) {
            Err(Error::Destination { fault: Fault::Exists, .. }) => true,
            result => {
                result?;
                false
            }
        };
        let copies = self.to.stat(name).map_err(|fault| Error::at("look at", name, fault))?.len();
        for copy in 0..copies.max(1) {
            match self.to.read(name, copy, 0..bytes.len() as u64 + 1) {
                Ok(there) if there == bytes => {
                    let mut tally = self.tally.lock();
                    tally.objects += 1;
                    tally.bytes += bytes.len() as u64;
                    return Ok(());
                }
                Ok(_) | Err(Fault::NotFound) => {}
                Err(fault) => return Err(Error::at("read back", name, fault)),
            }
        }
        let object = name.to_owned();
        Err(if is_occupied { Error::Occupied { object } } else { Error::NotKept { object } })
    }
}

/// Reads to the end, so that everything is authenticated.
fn drain(pull: &mut Pull<'_>, cancel: &Cancel) -> Result<()> {
    let mut buffer = zeroize::Zeroizing::new(vec![0; 256 << 10]);
    while pull.read(&mut buffer).map_err(Error::from_io)? > 0 {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
    }
    Ok(())
}

/// Serves the first destination's objects of one stream, and writes them to the second once they are authenticated.
struct Tee<'a> {
    way: &'a Way<'a>,
    /// Objects that wait while those behind them are read.
    held: usize,
    state: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    waiting: VecDeque<(String, Vec<u8>)>,
    /// All names that were read since the stream was begun.
    read: HashSet<String>,
    written: HashSet<String>,
    failed: Option<Error>,
}

impl Tee<'_> {
    fn hold(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let mut state = self.state.lock();
        if state.waiting.back().is_some_and(|(last, _)| last == name) {
            // Another copy of the object, because the one before has another length or does not open.
            state.waiting.pop_back();
        } else if !state.read.insert(name.to_owned()) {
            // The stream is read from its beginning again, with another copy of an object that did not open.
            state.waiting.clear();
            state.read = HashSet::from([name.to_owned()]);
        }
        state.waiting.push_back((name.to_owned(), bytes));
        while state.waiting.len() > self.held {
            let Some((name, bytes)) = state.waiting.pop_front() else { break };
            if state.written.insert(name.clone()) {
                self.way.put(&name, &bytes)?;
            }
        }
        Ok(())
    }
}

impl Destination for Tee<'_> {
    fn read(&self, name: &str, copy: usize, range: Range<u64>) -> std::result::Result<Vec<u8>, Fault> {
        let bytes = self.way.from.read(name, copy, range)?;
        if let Err(error) = self.hold(name, bytes.clone()) {
            self.state.lock().failed = Some(error);
            return Err(Fault::Other("it was not copied".into()));
        }
        Ok(bytes)
    }

    fn stat(&self, name: &str) -> std::result::Result<Vec<Meta>, Fault> {
        self.way.from.stat(name)
    }

    fn write(&self, _: &str, _: &[u8]) -> std::result::Result<(), Fault> {
        Err(Fault::Denied("it is only read".into()))
    }

    fn list(&self, _: &str, _: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> std::result::Result<(), Fault> {
        Ok(())
    }

    fn folders(&self, _: &str) -> std::result::Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }

    fn delete(&self, _: &str) -> std::result::Result<(), Fault> {
        Err(Fault::Denied("it is only read".into()))
    }
}
