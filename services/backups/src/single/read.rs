//! Reads the file: finds the frames once, then serves their objects as a destination does.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use bkv_stream::BackupKey;

use super::{FRAME_HEAD, number};
use crate::destination::{Destination, Fault, Listed, Meta, fault};
use crate::error::{Error, Result};
use crate::format::head::{HEAD, Head, MAGIC};
use crate::format::ledger::{Kept, LEDGER_HEAD, Ledger, Series};
use crate::format::manifest::Manifest;
use crate::format::names::Kind;
use crate::format::secret::random_id;
use crate::format::{Folder, Id, MAX_MANIFEST, MAX_OBJECT, sealed, sha256};
use crate::library::{History, Library, Standing};

/// True if a file that begins with these bytes is a backup in one file of this format. Older files are read by `bkv_stream`.
pub fn is_single(first: &[u8]) -> bool {
    first.starts_with(MAGIC)
}

/// The objects of a file.
#[derive(Debug)]
pub struct SingleFile {
    file: File,
    path: String,
    /// Offset and length of each copy of an object. An attacker may have added one.
    frames: BTreeMap<u128, Vec<(u64, u64)>>,
}

/// An opened file.
#[derive(Debug)]
pub struct Opened {
    /// Its objects, for [`crate::Access`].
    pub file: SingleFile,
    /// Its only generation.
    pub library: Library,
}

/// What a file shows without its key. None of it is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Id of the generation.
    pub generation: Id,
    /// Objects in the file.
    pub objects: u64,
    /// Length of the file.
    pub bytes: u64,
}

/// Looks at a file without its key. Fails if it is another program's, or was cut between or in its objects.
pub fn look(file: &File, name: &str) -> Result<Look> {
    let (head, _, bytes) = begin(file, name)?;
    let (frames, last) = scan(file, name, bytes)?;
    if last.is_none() {
        return Err(Error::Cut { object: name.into() });
    }
    let objects = frames.values().map(|copies| copies.len() as u64).sum();
    Ok(Look { generation: head.generation, objects, bytes })
}

/// The head, its bytes, and the length of the file.
fn begin(file: &File, name: &str) -> Result<(Head, [u8; HEAD], u64)> {
    let io = |error| Error::file("read", Path::new(name), error);
    let length = file.metadata().map_err(io)?.len();
    let mut start = vec![0; HEAD];
    let n = fill(file, &mut start, 0).map_err(io)?;
    start.truncate(n);
    let (head, raw) = Head::parse(name, &start)?;
    if head.seeded {
        return Err(Error::Foreign {
            object: name.into(),
            what: "it is a part of a backup at a destination",
        });
    }
    Ok((head, raw, length))
}

/// Opens a file. It needs random access: a pipe goes through [`spool`] first. `name` names the file in errors.
pub fn open(file: File, name: &str, key: &BackupKey) -> Result<Opened> {
    let (head, raw, length) = begin(&file, name)?;
    if head.open(&raw, key, None)?.is_none() {
        return Err(Error::WrongKey { object: name.into() });
    }
    let folder = Folder::of_file(name, &head.generation, key)?;
    let (frames, last) = scan(&file, name, length)?;
    let wanted = folder.name(Kind::Manifest, &head.generation, 0);
    let file = SingleFile { file, path: folder.path().to_owned(), frames };
    // The manifest is written last, so without it the file was cut or its backup was killed.
    if last.is_none_or(|(name, _)| name != wanted) {
        return Err(Error::Cut { object: name.into() });
    }
    let bytes = last.map_or(0, |(_, length)| length);
    let place = folder.path_of(wanted);
    let copies = file.frames.get(&wanted).map_or(0, Vec::len);
    let object =
        file.read(&place, copies.saturating_sub(1), 0..bytes).map_err(|f| Error::at("read", name, f))?;
    if !object.starts_with(&raw) {
        return Err(Error::damaged(name, "its manifest is of another file"));
    }
    let manifest = Manifest::open(name, &object, key, None, None)?.manifest;
    Ok(Opened { file, library: library(&head, &manifest, &object, folder) })
}

/// The frames, and name and length of the last one.
type Scanned = (BTreeMap<u128, Vec<(u64, u64)>>, Option<(u128, u64)>);

fn scan(file: &File, name: &str, length: u64) -> Result<Scanned> {
    let cut = || Error::Cut { object: name.into() };
    let mut frames = BTreeMap::<u128, Vec<(u64, u64)>>::new();
    let (mut at, mut last) = (HEAD as u64, None);
    while at < length {
        let mut head = [0; FRAME_HEAD];
        let n = fill(file, &mut head, at).map_err(|error| Error::file("read", Path::new(name), error))?;
        if n < FRAME_HEAD {
            return Err(cut());
        }
        let (object, size) = head.split_at(16);
        let object = object.first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes));
        let size = size.first_chunk().map_or(0, |bytes| u64::from(u32::from_be_bytes(*bytes)));
        if size > MAX_OBJECT.max(sealed::longest(LEDGER_HEAD, MAX_MANIFEST)) {
            return Err(Error::Foreign { object: name.into(), what: "a part of it is too long" });
        }
        let begin = at + FRAME_HEAD as u64;
        at = begin + size;
        if at > length {
            return Err(cut());
        }
        frames.entry(object).or_default().push((begin, size));
        last = Some((object, size));
    }
    Ok((frames, last))
}

fn fill(file: &File, space: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = space.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// What a ledger would say of the file.
fn library(head: &Head, manifest: &Manifest, object: &[u8], folder: Folder) -> Library {
    let kept = Kept {
        series: manifest.series,
        number: manifest.number,
        generation: head.generation,
        seed: None,
        manifest: sha256(object),
        manifest_bytes: object.len() as u64,
        begun_ms: manifest.begun_ms,
        ended_ms: manifest.ended_ms,
        content: manifest.content,
        complete: manifest.is_complete(),
        files: manifest.counts.files,
        bytes: manifest.counts.bytes,
        new_bytes: manifest.counts.new_bytes,
        tags: manifest.tags.clone(),
        objects: manifest.lengths.layout().map_or(0, |layout| layout.objects),
    };
    let series = Series {
        id: manifest.series,
        label: manifest.label.clone(),
        sources: String::new(),
        last: manifest.number,
    };
    let ledger = Ledger { series: vec![series], kept: vec![kept], ..Ledger::first(head.generation) };
    let standing = Standing::SingleFile;
    let history =
        History { writer: head.generation, ledger, standing, notes: Vec::new(), named: None, folder };
    Library { histories: vec![history], ..Library::default() }
}

/// Copies a pipe to a file without a name in `folder`, so that it can be read in any order. It is encrypted as it came, and goes when it is closed.
pub fn spool(source: &mut dyn Read, folder: &Path) -> Result<File> {
    let place = folder.join(format!(".{}.spool", hex::encode(random_id()?)));
    let failed = |error| Error::file("write", &place, error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&place)
        .map_err(failed)?;
    std::fs::remove_file(&place).map_err(failed)?;
    io::copy(source, &mut file).map_err(failed)?;
    Ok(file)
}

impl Destination for SingleFile {
    fn write(&self, _: &str, _: &[u8]) -> std::result::Result<(), Fault> {
        Err(Fault::Denied("a file in one piece is written once".into()))
    }

    fn read(&self, name: &str, copy: usize, range: Range<u64>) -> std::result::Result<Vec<u8>, Fault> {
        let frame = number(name).and_then(|name| self.frames.get(&name)?.get(copy).copied());
        let (begin, length) = frame.ok_or(Fault::NotFound)?;
        let (start, end) = (range.start.min(length), range.end.min(length));
        let size = usize::try_from(end.saturating_sub(start)).map_err(|_| Fault::NotFound)?;
        let mut bytes = vec![0; size];
        let n = fill(&self.file, &mut bytes, begin + start).map_err(fault)?;
        bytes.truncate(n);
        Ok(bytes)
    }

    fn stat(&self, name: &str) -> std::result::Result<Vec<Meta>, Fault> {
        let copies = number(name).and_then(|name| self.frames.get(&name));
        Ok(copies
            .into_iter()
            .flatten()
            .map(|(_, length)| Meta { length: *length, modified_ms: None })
            .collect())
    }

    fn list(
        &self,
        _: &str,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> std::result::Result<(), Fault> {
        for (name, copies) in &self.frames {
            let hex = format!("{name:032x}");
            let path = format!("{}/{}/{hex}", self.path, hex.get(..2).unwrap_or_default());
            for (_, length) in copies {
                let meta = Meta { length: *length, modified_ms: None };
                if each(Listed { name: path.clone(), meta }).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn folders(&self, _: &str) -> std::result::Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }

    fn delete(&self, _: &str) -> std::result::Result<(), Fault> {
        Err(Fault::Denied("a file in one piece loses nothing".into()))
    }
}
