//! Objects into content: reading, decryption, decompression, the check of padding, length and hash.
//! A destination may keep several objects of one name, of which one is genuine. If one does not open, the stream is read again with the next.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::rc::Rc;

use aws_lc_rs::digest;
use bkv_stream::{Decryptor, Options, StreamKey};

use crate::destination::{Destination, Fault};
use crate::error::{Error, Result};
use crate::format::names::{Folder, Kind};
use crate::format::stream::{Encoding, Layout, Lengths};
use crate::format::{Hash, Id};

/// The base-2 logarithm of the largest Zstandard window that is accepted: 8 MiB (RFC 8878, section 3.1.1.1.2).
const WINDOW: u32 = 23;

/// Which copy of an object to read, where it is not the first that fits.
pub(crate) type Copies = BTreeMap<u32, usize>;

/// A stream at a destination.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) destination: &'a dyn Destination,
    pub(crate) folder: &'a Folder,
    pub(crate) kind: Kind,
    pub(crate) id: Id,
    pub(crate) key: &'a StreamKey,
    pub(crate) aad: &'a [u8],
    pub(crate) lengths: Lengths,
    pub(crate) hash: Hash,
}

impl Target<'_> {
    /// Names the stream in errors: its first object.
    fn first(&self) -> String {
        self.folder.object(self.kind, &self.id, 0)
    }

    fn layout(&self) -> Result<Layout> {
        self.lengths
            .layout()
            .ok_or_else(|| Error::damaged(&self.first(), "its lengths contradict each other"))
    }

    /// Calls `consume` with the content. `consume` is called again from the beginning if an object has another copy and the first did not open.
    pub(crate) fn read<T>(&self, consume: impl FnMut(&mut Pull<'_>) -> Result<T>) -> Result<T> {
        self.read_with(&mut Copies::new(), consume)
    }

    /// As [`Target::read`]. `copies` has the copies to begin with, and afterwards those that opened.
    pub(crate) fn read_with<T>(
        &self,
        copies: &mut Copies,
        mut consume: impl FnMut(&mut Pull<'_>) -> Result<T>,
    ) -> Result<T> {
        loop {
            let mut pull = Pull::open(*self, copies.clone())?;
            let error = match consume(&mut pull).and_then(|value| pull.finish().map(|()| value)) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let Some(index) = pull.suspect(&error) else { return Err(error) };
            let name = self.folder.object(self.kind, &self.id, index);
            let there = self.destination.stat(&name).map_or(0, |copies| copies.len());
            let next = copies.get(&index).map_or(1, |copy| copy + 1);
            if next >= there {
                return Err(error);
            }
            copies.insert(index, next);
        }
    }
}

/// The content of a stream. Authenticated bytes only. The end is proved by [`Pull::finish`].
pub(crate) struct Pull<'a> {
    target: Target<'a>,
    plain: Plain<'a>,
    /// The object that was read last.
    at: Rc<RefCell<u32>>,
    hash: digest::Context,
    content: u64,
}

type Segments<'a> = Decryptor<Objects<'a>>;

enum Plain<'a> {
    Stored(Box<io::Take<Segments<'a>>>),
    Zstd(Box<zstd::stream::read::Decoder<'a, io::BufReader<io::Take<Segments<'a>>>>>),
}

impl<'a> Pull<'a> {
    /// Opens the stream with these copies of its objects.
    pub(crate) fn open(target: Target<'a>, copies: Copies) -> Result<Self> {
        let layout = target.layout()?;
        let at = Rc::new(RefCell::new(0));
        let objects =
            Objects { target, layout, copies, next: 0, current: Vec::new(), position: 0, at: Rc::clone(&at) };
        let segment = usize::try_from(layout.shape.segment()).map_err(|_| Error::TooMuch("a segment"))?;
        let options = Options { segment, workers: 1 };
        let segments =
            Decryptor::new(objects, target.key, target.aad, options).map_err(|e| judge(&target, e))?;
        let stored = segments.take(target.lengths.stored);
        let plain = match target.lengths.encoding {
            Encoding::Plain => Plain::Stored(Box::new(stored)),
            Encoding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(stored).map_err(Error::Io)?;
                decoder.window_log_max(WINDOW).map_err(Error::Io)?;
                Plain::Zstd(Box::new(decoder))
            }
        };
        Ok(Self { target, plain, at, hash: digest::Context::new(&digest::SHA256), content: 0 })
    }

    /// The object to blame for an error. None if no other copy can help. The decryptor reads a little ahead, so it may be the object before the last.
    fn suspect(&self, error: &Error) -> Option<u32> {
        let Error::Damaged { object, .. } = error else { return None };
        let last = *self.at.borrow();
        let before = last.checked_sub(1);
        let named = before
            .filter(|index| self.target.folder.object(self.target.kind, &self.target.id, *index) == *object);
        Some(named.unwrap_or(last))
    }

    /// Reads the rest and proves the end: last segment, zeros of the padding, length and hash.
    fn finish(&mut self) -> Result<()> {
        let mut buffer = vec![0; 64 << 10];
        while self.read(&mut buffer).map_err(Error::from_io)? > 0 {}
        let bad = |what| Err(Error::damaged(&self.target.first(), what));
        if self.content != self.target.lengths.content {
            return bad("its content has another length");
        }
        let stored = match &mut self.plain {
            Plain::Stored(stored) => stored,
            Plain::Zstd(decoder) => decoder.get_mut().get_mut(),
        };
        if stored.limit() > 0 {
            return bad("bytes follow its content");
        }
        let segments = stored.get_mut();
        loop {
            let n =
                segments.read(&mut buffer).map_err(|e| judge(&self.target, bkv_stream::Error::from_io(e)))?;
            match buffer.get(..n) {
                Some([]) | None => break,
                Some(padding) if padding.iter().any(|byte| *byte != 0) => {
                    return bad("its padding is not zero");
                }
                Some(_) => {}
            }
        }
        let hash = std::mem::replace(&mut self.hash, digest::Context::new(&digest::SHA256)).finish();
        if hash.as_ref() == self.target.hash { Ok(()) } else { bad("its content has another hash") }
    }
}

impl Read for Pull<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.target.lengths.content - self.content;
        // One byte more than there should be shows a stream that is too long.
        let most = usize::try_from(left).unwrap_or(usize::MAX).saturating_add(1).min(out.len());
        let space = out.get_mut(..most).unwrap_or_default();
        if space.is_empty() {
            return Ok(0);
        }
        let read = match &mut self.plain {
            Plain::Stored(stored) => stored.read(space),
            Plain::Zstd(decoder) => decoder.read(space),
        };
        let n = read.map_err(|error| match error.downcast::<bkv_stream::Error>() {
            Ok(error) => io::Error::from(judge(&self.target, error)),
            Err(other) => match other.downcast::<Error>() {
                Ok(ours) => ours.into(),
                Err(_) => Error::damaged(&self.target.first(), "its compression is malformed").into(),
            },
        })?;
        if n as u64 > left {
            return Err(Error::damaged(&self.target.first(), "its content is too long").into());
        }
        self.hash.update(space.get(..n).unwrap_or_default());
        self.content += n as u64;
        Ok(n)
    }
}

/// Names the object in which a segment lies.
fn judge(target: &Target<'_>, error: bkv_stream::Error) -> Error {
    let object = |segment: u32| {
        let per = target.lengths.shape().map_or(1, |shape| shape.object_segments().max(1));
        target.folder.object(target.kind, &target.id, segment / per)
    };
    match error {
        bkv_stream::Error::Corrupt { segment } => Error::damaged(&object(segment), "a segment does not open"),
        // All objects had their lengths, so the writer did not end the stream there: another stream's object is in its place.
        bkv_stream::Error::Truncated => {
            Error::damaged(&target.first(), "its stream does not end where it was ended")
        }
        other => other.into(),
    }
}

/// The objects of a stream, one behind the other. Each is read whole: it has at most 32 MiB.
struct Objects<'a> {
    target: Target<'a>,
    layout: Layout,
    copies: Copies,
    next: u32,
    current: Vec<u8>,
    position: usize,
    at: Rc<RefCell<u32>>,
}

impl Objects<'_> {
    fn fetch(&mut self) -> Result<()> {
        let Target { destination, folder, kind, id, .. } = self.target;
        let name = folder.object(kind, &id, self.next);
        let length = self.layout.length(self.next);
        *self.at.borrow_mut() = self.next;
        let copy = self.copies.get(&self.next).copied();
        let Some(bytes) = whole(destination, &name, length, copy)? else {
            let needed = u64::from(self.layout.objects);
            return Err(Error::NotAllHere { missing: 1, needed, first: name });
        };
        self.current = bytes;
        self.position = 0;
        self.next += 1;
        Ok(())
    }
}

/// An object of this length. Without a number of a copy, the first copy that has the length. None if there is none: it is missing, or short.
pub(crate) fn whole(
    destination: &dyn Destination,
    name: &str,
    length: u64,
    copy: Option<usize>,
) -> Result<Option<Vec<u8>>> {
    let read = |copy: usize| match destination.read(name, copy, 0..length.saturating_add(1)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Fault::NotFound) => Ok(None),
        Err(fault) => Err(Error::at("read", name, fault)),
    };
    let fits = |bytes: &Vec<u8>| bytes.len() as u64 == length;
    if let Some(copy) = copy {
        // A copy of another length is as useless as one that does not open.
        return match read(copy)? {
            Some(bytes) if !fits(&bytes) => Err(Error::damaged(name, "it has another length")),
            other => Ok(other),
        };
    }
    let Some(first) = read(0)? else { return Ok(None) };
    if fits(&first) {
        return Ok(Some(first));
    }
    let copies = destination.stat(name).map_err(|fault| Error::at("look at", name, fault))?;
    for copy in 1..copies.len() {
        if let Some(bytes) = read(copy)?.filter(fits) {
            return Ok(Some(bytes));
        }
    }
    if first.len() as u64 > length { Err(Error::damaged(name, "it is too long")) } else { Ok(None) }
}

impl Read for Objects<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.position == self.current.len() {
            if self.next == self.layout.objects {
                return Ok(0);
            }
            self.fetch()?;
        }
        let rest = self.current.get(self.position..).unwrap_or_default();
        let n = rest.len().min(out.len());
        if let (Some(out), Some(rest)) = (out.get_mut(..n), rest.get(..n)) {
            out.copy_from_slice(rest);
        }
        self.position += n;
        Ok(n)
    }
}
