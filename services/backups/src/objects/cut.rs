//! Cuts a ciphertext stream into objects at multiples of the segment size.

use std::io::{self, Write};

use super::upload::Uploads;
use crate::error::{Error, Result};
use crate::format::Id;
use crate::format::names::{Folder, Kind};

/// Collects one object at a time and hands it to the uploads.
pub(super) struct Cut<'a> {
    uploads: &'a Uploads<'a>,
    folder: &'a Folder,
    kind: Kind,
    id: Id,
    size: usize,
    next: u32,
    buffer: Vec<u8>,
}

impl<'a> Cut<'a> {
    pub(super) fn new(
        uploads: &'a Uploads<'a>,
        folder: &'a Folder,
        kind: Kind,
        id: Id,
        size: u64,
    ) -> Result<Self> {
        let size = usize::try_from(size).map_err(|_| Error::TooMuch("an object"))?;
        Ok(Self { uploads, folder, kind, id, size, next: 0, buffer: Vec::new() })
    }

    fn send(&mut self) -> Result<()> {
        let name = self.folder.name(self.kind, &self.id, self.next);
        self.next = self.next.checked_add(1).ok_or(Error::TooMuch("a stream"))?;
        self.uploads.push(name, std::mem::take(&mut self.buffer))
    }

    /// Hands over the last object.
    pub(super) fn finish(mut self) -> Result<()> {
        if self.buffer.is_empty() { Ok(()) } else { self.send() }
    }
}

impl Write for Cut<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.size - self.buffer.len();
        let now = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.buffer.extend_from_slice(now);
        if self.buffer.len() == self.size {
            self.send()?;
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
