//! Decrypts a Tink stream. It returns only whole authenticated segments, in order.
//! An attacker who controls the storage can learn which error the reader returned, and nothing else.

use std::io::{self, Read, Write};

use crate::{
    encrypt::{LOOK_AHEAD, read_retrying},
    error::{Error, Result},
    pipeline::{Chunk, Direction, Pipeline},
    progress::Control,
    segment::{Broken, Cipher, Options, STREAM_HEADER, StreamKey, TAG},
};

/// Decrypts what it reads. It reports the end of the plaintext only after it has authenticated the last segment.
pub struct Decryptor<R: Read> {
    source: R,
    pipeline: Pipeline,
    segment: usize,
    ahead: Vec<u8>,
    have: usize,
    first: bool,
    source_ended: bool,
    last: Option<u32>,
    ended: bool,
    current: Option<Chunk>,
    position: usize,
    failed: bool,
}

impl<R: Read> Decryptor<R> {
    /// Reads Tink's stream header.
    pub fn new(mut source: R, key: &StreamKey, aad: &[u8], options: Options) -> Result<Self> {
        let Options { segment, workers } = options.check()?;
        let mut header = [0; STREAM_HEADER];
        if fill(&mut source, &mut header)? < header.len() {
            return Err(Error::Truncated);
        }
        let cipher = Cipher::from_header(key, aad, &header)?;
        let pipeline = Pipeline::new(cipher, Direction::Open, segment, workers)?;
        Ok(Self {
            source,
            pipeline,
            segment,
            ahead: vec![0; LOOK_AHEAD],
            have: 0,
            first: true,
            source_ended: false,
            last: None,
            ended: false,
            current: None,
            position: 0,
            failed: false,
        })
    }

    /// The source, for its owner.
    pub(crate) fn source(&self) -> &R {
        &self.source
    }

    /// Number of the last segment. `None` until the source has ended.
    pub(crate) fn last_index(&self) -> Option<u32> {
        self.last
    }

    /// The next authenticated segment's plaintext, or `None` after the last one. After an error it returns no more plaintext.
    pub fn next_segment(&mut self) -> Result<Option<&[u8]>> {
        self.advance()?;
        Ok(self.segment())
    }

    /// The segment that the last call returned.
    pub(crate) fn segment(&self) -> Option<&[u8]> {
        self.current.as_ref().map(Chunk::filled)
    }

    fn advance(&mut self) -> Result<()> {
        if self.failed {
            return Err(Error::FailedBefore);
        }
        if let Some(used) = self.current.take() {
            self.pipeline.give_back(used);
        }
        self.position = 0;
        let result = self.open_next();
        self.failed = result.is_err();
        self.current = result?;
        Ok(())
    }

    fn open_next(&mut self) -> Result<Option<Chunk>> {
        while !self.source_ended && self.pipeline.has_room() {
            self.read_segment()?;
        }
        match self.pipeline.next() {
            None => {
                self.ended = true;
                Ok(None)
            }
            Some((_, Ok(chunk))) => Ok(Some(chunk)),
            Some((_, Err(Broken::NotTheLast))) => Err(Error::Truncated),
            Some((segment, Err(Broken::Corrupt))) => Err(Error::Corrupt { segment }),
        }
    }

    /// Reads a segment and a little more, because only the source's end shows which segment is the last.
    fn read_segment(&mut self) -> Result<()> {
        let mut chunk = self.pipeline.take();
        let size = if self.first { self.segment - STREAM_HEADER } else { self.segment };
        self.first = false;
        let space = chunk.bytes.get_mut(..size).ok_or(Error::Crypto)?;
        let (front, rest) = space.split_at_mut_checked(self.have).ok_or(Error::Crypto)?;
        front.copy_from_slice(self.ahead.get(..self.have).ok_or(Error::Crypto)?);
        chunk.len = self.have + fill(&mut self.source, rest)?;
        let most = self.segment.min(self.ahead.len());
        let look = self.ahead.get_mut(..most).ok_or(Error::Crypto)?;
        self.have = if chunk.len == size { read_retrying(&mut self.source, look)? } else { 0 };
        if self.have > 0 {
            return self.pipeline.submit(chunk, false);
        }
        self.source_ended = true;
        self.last = Some(self.pipeline.next_index()?);
        if chunk.len < TAG {
            // The last segment is too short for a tag, so the stream is truncated. Earlier segments that are not opened yet can't change that.
            return Err(Error::Truncated);
        }
        self.pipeline.submit(chunk, true)
    }
}

impl<R: Read> Read for Decryptor<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || self.ended {
            return Ok(0);
        }
        loop {
            if let Some(chunk) = &self.current
                && let Some(rest) = chunk.filled().get(self.position..)
                && !rest.is_empty()
            {
                let n = rest.len().min(out.len());
                if let (Some(out), Some(rest)) = (out.get_mut(..n), rest.get(..n)) {
                    out.copy_from_slice(rest);
                }
                self.position += n;
                return Ok(n);
            }
            self.advance()?;
            if self.current.is_none() {
                return Ok(0);
            }
        }
    }
}

impl<R: Read> std::fmt::Debug for Decryptor<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decryptor").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// Reads until `space` is full or the source ends.
pub(crate) fn fill(source: &mut impl Read, space: &mut [u8]) -> Result<usize> {
    let mut n = 0;
    while let Some(rest) = space.get_mut(n..)
        && !rest.is_empty()
    {
        match read_retrying(source, rest)? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}

/// Decrypts all of `source` into `sink` and returns the plaintext's length in bytes. After an error `sink` holds a genuine but
/// incomplete prefix, which the caller must discard.
pub fn copy_decrypt(
    source: &mut impl Read,
    mut sink: impl Write,
    key: &StreamKey,
    aad: &[u8],
    options: Options,
    control: Control<'_>,
) -> Result<u64> {
    let mut decryptor = Decryptor::new(source, key, aad, options)?;
    let mut done = 0;
    loop {
        control.check()?;
        let Some(text) = decryptor.next_segment()? else { break };
        sink.write_all(text).map_err(Error::from_io)?;
        done += text.len() as u64;
        control.progress.bytes(done, None);
    }
    sink.flush().map_err(Error::from_io)?;
    Ok(done)
}
