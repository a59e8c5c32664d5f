//! Bounds what a tar reader takes in between two entries. It reads long names and extensions whole into memory, and an attacker who had the key may have
//! written one of any length.

use std::cell::Cell;
use std::io::{self, Read};

use crate::error::Error;

/// Most bytes between two entries: their headers, a long name and a long link. Paths of this system have at most 4,096 bytes.
const MOST: u64 = 64 << 10;

/// How many bytes the tar reader may still take. Unlimited while it reads a file's content.
#[derive(Debug)]
pub(super) struct Allowance(Cell<u64>);

impl Allowance {
    pub(super) const fn new() -> Self {
        Self(Cell::new(MOST))
    }

    /// The reader is between two entries.
    pub(super) fn headers(&self) {
        self.0.set(MOST);
    }

    /// The reader is in an entry.
    pub(super) fn content(&self) {
        self.0.set(u64::MAX);
    }
}

/// A source of which a tar reader takes no more than its allowance.
pub(super) struct Bounded<'a, R> {
    pub(super) source: &'a mut R,
    pub(super) allowance: &'a Allowance,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.allowance.0.get();
        if left == 0 {
            let why = "its headers are longer than any name can be";
            return Err(io::Error::other(Error::UnsafeEntry { path: "the next entry".into(), why }));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.source.read(buffer.get_mut(..most).unwrap_or_default())?;
        if left != u64::MAX {
            self.allowance.0.set(left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX)));
        }
        Ok(read)
    }
}
