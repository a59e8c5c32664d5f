//! A whole backup file: header, stream, end mark.
//! The end mark `"BKVE" ‖ stream length (u64, big endian)` is not authenticated. It only helps a reader to distinguish a truncated file from a
//! damaged one when the cut is inside a segment (S30). Only the last segment's tag proves that the stream is whole.

use std::io::{self, Read, Write};

use subtle::ConstantTimeEq;

use crate::{
    decrypt::Decryptor,
    encrypt::Encryptor,
    error::{Error, Result},
    header::{Expect, Header, Manifest},
    key::BackupKey,
    progress::Control,
    segment::Options,
};

/// Length of the end mark in bytes.
pub const END_MARK_LEN: usize = 12;
const END_MAGIC: &[u8; 4] = b"BKVE";

fn end_mark(stream: u64) -> [u8; END_MARK_LEN] {
    let mut mark = [0; END_MARK_LEN];
    let (magic, length) = mark.split_at_mut(END_MAGIC.len());
    magic.copy_from_slice(END_MAGIC);
    length.copy_from_slice(&stream.to_be_bytes());
    mark
}

/// Writes a backup file. The bytes written to it are the content.
#[derive(Debug)]
pub struct BackupWriter<W: Write> {
    header: Header,
    stream: Encryptor<W>,
}

impl<W: Write> BackupWriter<W> {
    /// Sets the manifest's key-check value and writes the header. The manifest determines the segment size.
    pub fn new(mut sink: W, key: &BackupKey, mut manifest: Manifest, workers: usize) -> Result<Self> {
        manifest.key_check = key.key_check(&manifest.backup)?;
        let header = Header::new(manifest)?;
        sink.write_all(&header.to_bytes()).map_err(Error::from_io)?;
        let stream =
            Encryptor::new(sink, &key.stream_key(header.hash())?, header.hash(), options(&header, workers))?;
        Ok(Self { header, stream })
    }

    /// The header. The caller stores its hash in the account's record.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Encrypts `source` to its end without copying it through `Write`.
    pub fn read_from(&mut self, source: &mut impl Read, control: Control<'_>) -> Result<u64> {
        self.stream.read_from(source, control)
    }

    /// Plaintext bytes taken so far.
    pub fn plain_bytes(&self) -> u64 {
        self.stream.plain_bytes()
    }

    /// Writes the last segment and the end mark. Without them a reader never accepts the file.
    pub fn finish(self) -> Result<(W, Header)> {
        let (mut sink, written) = self.stream.finish()?;
        sink.write_all(&end_mark(written)).map_err(Error::from_io)?;
        sink.flush().map_err(Error::from_io)?;
        Ok((sink, self.header))
    }
}

impl<W: Write> Write for BackupWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.stream.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn options(header: &Header, workers: usize) -> Options {
    Options { segment: usize::try_from(header.manifest().segment).unwrap_or(0), workers }
}

/// Reads a backup file. It returns only authenticated content, and reports the end only if the file is whole.
#[derive(Debug)]
pub struct BackupReader<R: Read> {
    header: Header,
    stream: Decryptor<HoldBack<R>>,
}

impl<R: Read> BackupReader<R> {
    /// Reads the header. It checks the header against `expect` and the key against the key-check value before it decrypts anything.
    pub fn new(mut source: R, key: &BackupKey, expect: &Expect, workers: usize) -> Result<Self> {
        let header = Header::read(&mut source)?;
        expect.check(&header)?;
        let manifest = header.manifest();
        if !bool::from(key.key_check(&manifest.backup)?.ct_eq(&manifest.key_check)) {
            return Err(Error::WrongKey);
        }
        let key = key.stream_key(header.hash())?;
        let stream = Decryptor::new(HoldBack::new(source), &key, header.hash(), options(&header, workers))?;
        Ok(Self { header, stream })
    }

    /// The header. It is authenticated once the first segment was returned.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next segment's content, or `None` at the end of a whole file.
    pub fn next_segment(&mut self) -> Result<Option<&[u8]>> {
        // Handle errors before the segment is borrowed: `judge` needs to borrow the source.
        match self.stream.next_segment() {
            Ok(Some(_)) => {}
            Ok(None) => {
                self.check_end()?;
                return Ok(None);
            }
            Err(error) => return Err(self.judge(error)),
        }
        Ok(self.stream.segment())
    }

    /// Reads to the end and drops the content. `Ok` means that every segment is genuine and none is missing.
    pub fn verify(&mut self, control: Control<'_>) -> Result<u64> {
        let mut done = 0;
        while let Some(text) = self.next_segment()? {
            done += text.len() as u64;
            control.check()?;
            control.progress.bytes(done, None);
        }
        Ok(done)
    }

    fn check_end(&self) -> Result<()> {
        let segment = self.stream.last_index().unwrap_or(0);
        if self.stream.source().mark_fits() { Ok(()) } else { Err(Error::Corrupt { segment }) }
    }

    /// Reports a file as truncated if its last segment does not open and its end mark is missing.
    fn judge(&self, error: Error) -> Error {
        match error {
            Error::Corrupt { segment }
                if self.stream.last_index() == Some(segment) && !self.stream.source().mark_fits() =>
            {
                Error::Truncated
            }
            other => other,
        }
    }
}

impl<R: Read> Read for BackupReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.stream.read(out) {
            Ok(0) if !out.is_empty() => {
                self.check_end()?;
                Ok(0)
            }
            Ok(n) => Ok(n),
            Err(error) => match Error::from_io(error) {
                Error::Io(other) => Err(other),
                ours => Err(self.judge(ours).into()),
            },
        }
    }
}

/// Passes on all bytes except the last ones, which may be the end mark. It puts the held bytes at the front of the caller's
/// buffer and reads the rest behind them, so no bytes are shifted.
struct HoldBack<R> {
    inner: R,
    held: [u8; END_MARK_LEN],
    have: usize,
    passed: u64,
}

impl<R: Read> HoldBack<R> {
    fn new(inner: R) -> Self {
        Self { inner, held: [0; END_MARK_LEN], have: 0, passed: 0 }
    }

    /// True if the held bytes are the end mark of the bytes passed on. It is meaningful only once the source has ended.
    fn mark_fits(&self) -> bool {
        self.have == END_MARK_LEN && self.held == end_mark(self.passed)
    }

    fn read_few(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // For small buffers: read one byte at the back and pass one on at the front.
        let mut byte = [0; 1];
        let (Some(slot), true) = (out.first_mut(), self.inner.read(&mut byte)? == 1) else { return Ok(0) };
        let [first, ..] = self.held;
        *slot = first;
        self.held.rotate_left(1);
        let [.., last] = &mut self.held;
        [*last] = byte;
        self.passed += 1;
        Ok(1)
    }
}

impl<R: Read> Read for HoldBack<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while let Some(space) = self.held.get_mut(self.have..)
            && !space.is_empty()
        {
            match self.inner.read(space)? {
                0 => return Ok(0),
                n => self.have += n,
            }
        }
        let Some((front, rest)) = out.split_at_mut_checked(END_MARK_LEN) else { return self.read_few(out) };
        if rest.is_empty() {
            return self.read_few(out);
        }
        let n = self.inner.read(rest)?;
        if n == 0 {
            return Ok(0);
        }
        front.copy_from_slice(&self.held);
        if let Some(tail) = out.get(n..n + END_MARK_LEN) {
            self.held.copy_from_slice(tail);
        }
        self.passed += n as u64;
        Ok(n)
    }
}

impl<R> std::fmt::Debug for HoldBack<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HoldBack").field("passed", &self.passed).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "file_test.rs"]
mod file_test;
