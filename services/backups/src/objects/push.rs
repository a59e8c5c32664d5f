//! Content into objects: hash, zstd frames, padding, encryption, cutting, in one pass and bounded memory.

use std::io::{self, Write};

use aws_lc_rs::digest;
use bkv_stream::{Encryptor, Options, StreamKey};
use zeroize::Zeroizing;

use super::cut::Cut;
use super::upload::Uploads;
use crate::error::{Error, Result};
use crate::format::names::{Folder, Kind};
use crate::format::stream::{Encoding, Lengths, Shape, padme};
use crate::format::{Hash, Id};

/// Content in one zstd frame. Independent frames bound what an attacker's content can share a window with.
const FRAME: usize = 1 << 20;
const LEVEL: i32 = 3;
/// If the first frame does not shrink below this share of 1,024, the content is stored plain.
const WORTH: usize = 1000;

/// How content is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    pub(crate) shape: Shape,
    pub(crate) compress: bool,
    pub(crate) pad: bool,
    pub(crate) workers: usize,
}

/// What was stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) hash: Hash,
    pub(crate) lengths: Lengths,
}

/// Takes content and uploads its stream.
pub(crate) struct Push<'a> {
    encryptor: Encryptor<Cut<'a>>,
    how: How,
    hash: digest::Context,
    content: u64,
    stored: u64,
    /// None until the first frame has shown whether compression is worth it.
    encoding: Option<Encoding>,
    frame: Zeroizing<Vec<u8>>,
    packed: Zeroizing<Vec<u8>>,
}

impl<'a> Push<'a> {
    pub(crate) fn new(
        uploads: &'a Uploads<'a>,
        folder: &'a Folder,
        (kind, id): (Kind, Id),
        (key, aad): (&StreamKey, &[u8]),
        how: How,
    ) -> Result<Self> {
        let cut = Cut::new(uploads, folder, kind, id, how.shape.object_bytes())?;
        let segment = usize::try_from(how.shape.segment()).map_err(|_| Error::TooMuch("a segment"))?;
        let encryptor = Encryptor::new(cut, key, aad, Options { segment, workers: how.workers })?;
        Ok(Self {
            encryptor,
            how,
            hash: digest::Context::new(&digest::SHA256),
            content: 0,
            stored: 0,
            encoding: (!how.compress).then_some(Encoding::Plain),
            frame: Zeroizing::new(Vec::new()),
            packed: Zeroizing::new(Vec::new()),
        })
    }

    fn take(&mut self, content: &[u8]) -> Result<()> {
        self.hash.update(content);
        self.content += content.len() as u64;
        if self.encoding == Some(Encoding::Plain) {
            return self.store_plain(content);
        }
        let mut rest = content;
        while !rest.is_empty() {
            let room = FRAME - self.frame.len();
            let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            // Reserve once, so that no reallocation leaves a copy of the content behind.
            if self.frame.capacity() < FRAME && self.frame.len() + now.len() > self.frame.capacity() {
                self.grow();
            }
            self.frame.extend_from_slice(now);
            rest = later;
            if self.frame.len() == FRAME {
                self.close_frame()?;
                if self.encoding == Some(Encoding::Plain) {
                    return self.store_plain(rest);
                }
            }
        }
        Ok(())
    }

    fn grow(&mut self) {
        let mut larger = Zeroizing::new(Vec::with_capacity(FRAME));
        larger.extend_from_slice(&self.frame);
        self.frame = larger;
    }

    fn store_plain(&mut self, content: &[u8]) -> Result<()> {
        self.stored += content.len() as u64;
        self.encryptor.write_all(content).map_err(Error::from_io)
    }

    fn close_frame(&mut self) -> Result<()> {
        let frame = std::mem::take(&mut self.frame);
        let bound = zstd::zstd_safe::compress_bound(frame.len());
        if self.packed.len() < bound {
            self.packed = Zeroizing::new(vec![0; bound]);
        }
        let packed =
            zstd::bulk::compress_to_buffer(&frame, &mut self.packed[..], LEVEL).map_err(Error::Io)?;
        let shrinks = packed.saturating_mul(1024) < frame.len().saturating_mul(WORTH);
        let encoding = *self.encoding.get_or_insert(if shrinks { Encoding::Zstd } else { Encoding::Plain });
        let (bytes, length) = match encoding {
            Encoding::Zstd => (&self.packed, packed),
            Encoding::Plain => (&frame, frame.len()),
        };
        let bytes = bytes.get(..length).unwrap_or_default();
        self.stored += length as u64;
        self.encryptor.write_all(bytes).map_err(Error::from_io)?;
        let mut frame = frame;
        frame.clear();
        self.frame = frame;
        Ok(())
    }

    /// Pads, writes the last segment and the last object.
    pub(crate) fn finish(mut self) -> Result<Stored> {
        if !self.frame.is_empty() {
            self.close_frame()?;
        }
        let padded = if self.how.pad { padme(self.stored) } else { self.stored };
        let zeros = [0; 4096];
        let mut left = padded - self.stored;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
            self.encryptor.write_all(zeros.get(..now).unwrap_or_default()).map_err(Error::from_io)?;
            left -= now as u64;
        }
        let encoding = self.encoding.unwrap_or(Encoding::Plain);
        let lengths = Lengths::new(self.content, self.stored, padded, encoding, self.how.shape);
        let (cut, written) = self.encryptor.finish()?;
        cut.finish()?;
        if lengths.layout().is_none_or(|layout| layout.total != written) {
            return Err(Error::TooMuch("a stream"));
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(self.hash.finish().as_ref());
        Ok(Stored { hash, lengths })
    }
}

impl Write for Push<'_> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.take(content)?;
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
