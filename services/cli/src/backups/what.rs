//! What a backup holds: folders, or what comes through standard input.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use bkv_backups::Error;
use bkv_backups::backup::Source;
use bkv_stream::Cancel;

/// What is backed up.
#[derive(Debug)]
pub(crate) enum What {
    /// Folders, by absolute paths.
    Folders(Vec<PathBuf>),
    /// Standard input, under this name.
    Pipe(String),
}

impl What {
    pub(crate) fn source<'a>(&'a self, stdin: &'a mut Stdin<'_>) -> Source<'a> {
        match self {
            Self::Folders(folders) => Source::Folders(folders),
            Self::Pipe(_) => Source::Pipe(stdin),
        }
    }
}

/// How often a read that waits looks whether the command was interrupted.
const LOOK: Duration = Duration::from_millis(200);
const CHUNK: usize = 256 << 10;

/// Standard input, whose reads end when the command is interrupted: a producer that is silent would keep it.
#[derive(Debug)]
pub(crate) struct Stdin<'a> {
    cancel: &'a Cancel,
    chunks: Option<Receiver<io::Result<Vec<u8>>>>,
    chunk: io::Cursor<Vec<u8>>,
    ended: bool,
}

impl<'a> Stdin<'a> {
    pub(crate) fn new(cancel: &'a Cancel) -> Self {
        Self { cancel, chunks: None, chunk: io::Cursor::default(), ended: false }
    }
}

/// Reads on a thread of its own, which may wait for ever. The last chunk is empty.
fn begin() -> Receiver<io::Result<Vec<u8>>> {
    let (to, chunks) = sync_channel(2);
    std::thread::spawn(move || {
        loop {
            let mut chunk = vec![0; CHUNK];
            let read = io::stdin().lock().read(&mut chunk).map(|n| {
                chunk.truncate(n);
                chunk
            });
            let last = read.as_ref().map_or(true, Vec::is_empty);
            if to.send(read).is_err() || last {
                return;
            }
        }
    });
    chunks
}

impl Read for Stdin<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.chunk.read(out)?;
            if n > 0 || self.ended || out.is_empty() {
                return Ok(n);
            }
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled.into());
            }
            match self.chunks.get_or_insert_with(begin).recv_timeout(LOOK) {
                Ok(chunk) => {
                    self.chunk = io::Cursor::new(chunk?);
                    self.ended = self.chunk.get_ref().is_empty();
                }
                Err(RecvTimeoutError::Timeout) => {}
                // Not the end: a backup of a part would pass for whole.
                Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}
