//! Encrypts plaintext of unknown length as a Tink stream.

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

use crate::{
    error::{Error, Result},
    pipeline::{Chunk, Direction, Pipeline},
    progress::Control,
    segment::{Cipher, Options, StreamKey, capacity},
};

/// Bytes to read past a full segment to detect whether it is the last.
pub(crate) const LOOK_AHEAD: usize = 4096;

/// Encrypts what is written to it. Without [`Encryptor::finish`] the stream has no last segment, so a reader never accepts it as whole.
pub struct Encryptor<W: Write> {
    sink: W,
    pipeline: Pipeline,
    current: Chunk,
    ahead: Zeroizing<Vec<u8>>,
    segment: usize,
    plain: u64,
    written: u64,
    failed: bool,
}

impl<W: Write> Encryptor<W> {
    /// Begins a stream by writing Tink's stream header.
    pub fn new(mut sink: W, key: &StreamKey, aad: &[u8], options: Options) -> Result<Self> {
        let Options { segment, workers } = options.check()?;
        let (cipher, header) = Cipher::fresh(key, aad)?;
        let mut pipeline = Pipeline::new(cipher, Direction::Seal, segment, workers)?;
        sink.write_all(&header).map_err(Error::from_io)?;
        let current = pipeline.take();
        let written = header.len() as u64;
        Ok(Self {
            sink,
            pipeline,
            current,
            ahead: Zeroizing::new(vec![0; LOOK_AHEAD]),
            segment,
            plain: 0,
            written,
            failed: false,
        })
    }

    /// Plaintext bytes taken so far.
    pub fn plain_bytes(&self) -> u64 {
        self.plain
    }

    /// Reads `source` to its end, straight into the segments' buffers.
    pub fn read_from(&mut self, source: &mut impl Read, control: Control<'_>) -> Result<u64> {
        let before = self.plain;
        loop {
            control.check()?;
            if self.failed {
                return Err(Error::FailedBefore);
            }
            let result = self.read_some(source);
            self.failed |= result.is_err();
            match result? {
                0 => break,
                n => self.plain += n as u64,
            }
            control.progress.bytes(self.plain, None);
        }
        Ok(self.plain - before)
    }

    fn read_some(&mut self, source: &mut impl Read) -> Result<usize> {
        let room = capacity(self.segment, self.pipeline.next_index()?);
        if self.current.len < room {
            let space = self.current.bytes.get_mut(self.current.len..room).ok_or(Error::Crypto)?;
            let n = read_retrying(source, space)?;
            self.current.len += n;
            return Ok(n);
        }
        // The segment is full. It is the last one unless more bytes follow. A small look-ahead instead of a second buffer
        // keeps one worker's data in its core's cache.
        let most = capacity(self.segment, 1).min(self.ahead.len());
        let n = read_retrying(source, self.ahead.get_mut(..most).ok_or(Error::Crypto)?)?;
        if n > 0 {
            self.next_chunk()?;
            let seen = self.ahead.get(..n).ok_or(Error::Crypto)?;
            self.current.bytes.get_mut(..n).ok_or(Error::Crypto)?.copy_from_slice(seen);
            self.current.len = n;
        }
        Ok(n)
    }

    /// Submits the full segment before it takes the next buffer. With one worker that is the same buffer again.
    fn next_chunk(&mut self) -> Result<()> {
        let full = std::mem::replace(&mut self.current, Chunk::empty());
        self.send(full, false)?;
        self.current = self.pipeline.take();
        Ok(())
    }

    fn send(&mut self, chunk: Chunk, last: bool) -> Result<()> {
        self.pipeline.submit(chunk, last)?;
        while !self.pipeline.has_room() {
            self.write_next()?;
        }
        Ok(())
    }

    fn write_next(&mut self) -> Result<bool> {
        let Some((_, outcome)) = self.pipeline.next() else { return Ok(false) };
        let chunk = outcome.map_err(|_| Error::Crypto)?;
        self.sink.write_all(chunk.filled()).map_err(Error::from_io)?;
        self.written += chunk.len as u64;
        self.pipeline.give_back(chunk);
        Ok(true)
    }

    /// Writes the last segment. Returns the sink and the length of the whole stream in bytes.
    pub fn finish(mut self) -> Result<(W, u64)> {
        if self.failed {
            return Err(Error::FailedBefore);
        }
        let last = std::mem::replace(&mut self.current, Chunk::empty());
        self.send(last, true)?;
        while self.write_next()? {}
        self.sink.flush().map_err(Error::from_io)?;
        Ok((self.sink, self.written))
    }

    fn write_some(&mut self, data: &[u8]) -> Result<usize> {
        let mut room = capacity(self.segment, self.pipeline.next_index()?);
        if self.current.len >= room && !data.is_empty() {
            self.next_chunk()?;
            room = capacity(self.segment, self.pipeline.next_index()?);
        }
        let n = data.len().min(room - self.current.len);
        let space = self.current.bytes.get_mut(self.current.len..self.current.len + n);
        let (Some(space), Some(data)) = (space, data.get(..n)) else { return Err(Error::Crypto) };
        space.copy_from_slice(data);
        self.current.len += n;
        self.plain += n as u64;
        Ok(n)
    }

    #[cfg(test)]
    pub(crate) fn start_at(&mut self, index: u32) {
        self.pipeline.start_at(index);
    }
}

impl<W: Write> Write for Encryptor<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(Error::FailedBefore.into());
        }
        self.write_some(data).map_err(|error| {
            self.failed = true;
            error.into()
        })
    }

    /// Does nothing. A segment is written when it is full. Only the last one may be shorter.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> std::fmt::Debug for Encryptor<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encryptor").field("plain", &self.plain).finish_non_exhaustive()
    }
}

pub(crate) fn read_retrying(source: &mut impl Read, space: &mut [u8]) -> Result<usize> {
    loop {
        match source.read(space) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(Error::from_io),
        }
    }
}

/// Encrypts all of `source` into `sink` and returns the plaintext's length in bytes.
pub fn copy_encrypt(
    source: &mut impl Read,
    sink: impl Write,
    key: &StreamKey,
    aad: &[u8],
    options: Options,
    control: Control<'_>,
) -> Result<u64> {
    let mut encryptor = Encryptor::new(sink, key, aad, options)?;
    let n = encryptor.read_from(source, control)?;
    encryptor.finish()?;
    Ok(n)
}
