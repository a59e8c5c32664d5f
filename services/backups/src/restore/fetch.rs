//! Reads blobs and packs on several threads and writes their files.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use parking_lot::{Condvar, Mutex};

use super::Work;
use crate::error::{Error, Result};
use crate::format::stream::BlobRef;
use crate::format::tree::{Attributes, Extent};

/// A file to write.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) place: PathBuf,
    pub(super) attributes: Attributes,
    pub(super) size: u64,
    pub(super) data: u64,
    /// Offset in the blob.
    pub(super) offset: u64,
    pub(super) extents: Vec<Extent>,
}

/// A blob, and the files in it in the order of their offsets.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) blob: BlobRef,
    pub(super) members: Vec<Member>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Fetch>,
    running: usize,
    closed: bool,
}

/// A bounded queue.
pub(super) struct Fetches {
    state: Mutex<State>,
    changed: Condvar,
    most: usize,
}

/// Ends the threads, also after an error.
pub(super) struct Closing<'a>(&'a Fetches);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl Fetches {
    pub(super) fn new(most: usize) -> Self {
        Self { state: Mutex::new(State::default()), changed: Condvar::new(), most }
    }

    pub(super) fn closing(&self) -> Closing<'_> {
        Closing(self)
    }

    pub(super) fn push(&self, fetch: Fetch) {
        if fetch.members.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        while state.waiting.len() >= self.most {
            self.changed.wait(&mut state);
        }
        state.waiting.push_back(fetch);
        self.changed.notify_all();
    }

    pub(super) fn settle(&self) {
        let mut state = self.state.lock();
        while !state.waiting.is_empty() || state.running > 0 {
            self.changed.wait(&mut state);
        }
    }

    pub(super) fn serve(&self, run: impl Fn(Fetch)) {
        let mut state = self.state.lock();
        loop {
            if let Some(fetch) = state.waiting.pop_front() {
                state.running += 1;
                self.changed.notify_all();
                drop(state);
                run(fetch);
                state = self.state.lock();
                state.running -= 1;
                self.changed.notify_all();
            } else if state.closed {
                return;
            } else {
                self.changed.wait(&mut state);
            }
        }
    }
}

impl Work<'_> {
    /// Writes the files of a blob. They count once the whole blob is proved, its hash included.
    pub(super) fn fetch(&self, fetch: Fetch) {
        if self.tally.lock().fatal.is_some() || self.cancel.is_cancelled() {
            return;
        }
        let result = self.reading.blob(&fetch.blob, |pull| {
            let mut at = 0;
            for member in &fetch.members {
                pass_over(pull, member.offset.saturating_sub(at))?;
                self.write(member, pull)?;
                at = member.offset + member.data;
            }
            pass_over(pull, u64::MAX)
        });
        let error = match result {
            Ok(()) => {
                let mut not_kept = Vec::new();
                for member in &fetch.members {
                    self.permissions.file(&member.place, &member.attributes, &mut not_kept);
                }
                let mut tally = self.tally.lock();
                tally.report.not_kept.append(&mut not_kept);
                tally.report.files += fetch.members.len() as u64;
                tally.report.bytes += fetch.members.iter().map(|member| member.data).sum::<u64>();
                return;
            }
            Err(error) => error,
        };
        // Content that was not proved must not be published.
        fetch.members.iter().for_each(|member| drop(std::fs::remove_file(&member.place)));
        let local = matches!(error, Error::File { .. } | Error::Cancelled | Error::Crypto);
        let mut tally = self.tally.lock();
        if local || !self.keep_going {
            tally.fatal.get_or_insert(error);
            return;
        }
        let text = error.to_string();
        tally.report.failed.extend(fetch.members.into_iter().map(|member| {
            let place = member.place.strip_prefix(self.root).unwrap_or(&member.place).to_owned();
            (place, Error::Refused(text.clone()))
        }));
    }

    /// Writes a file without data.
    pub(super) fn empty(&self, member: &Member) {
        let made = create(member, false).and_then(|file| settle(&file, member));
        let mut tally = self.tally.lock();
        match made {
            Ok(()) => {
                tally.report.files += 1;
                self.permissions.file(&member.place, &member.attributes, &mut tally.report.not_kept);
            }
            Err(error) => {
                tally.fatal.get_or_insert(error);
            }
        }
    }

    fn write(&self, member: &Member, source: &mut impl Read) -> Result<()> {
        let failed = |error| Error::file("write", &member.place, error);
        // A second copy of an object begins the blob again.
        let mut file = create(member, true)?;
        let whole = [Extent { offset: 0, length: member.data }];
        let extents = if member.extents.is_empty() { &whole[..] } else { &member.extents };
        // It is wiped after each file, so it is no longer than the file.
        let length = usize::try_from(member.data.min(256 << 10)).unwrap_or(1);
        let mut buffer = zeroize::Zeroizing::new(vec![0; length]);
        for extent in extents {
            if !member.extents.is_empty() {
                file.seek(SeekFrom::Start(extent.offset)).map_err(failed)?;
            }
            let mut left = extent.length;
            while left > 0 {
                if self.cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                let n = source.read(buffer.get_mut(..most).unwrap_or_default()).map_err(Error::from_io)?;
                if n == 0 {
                    return Err(Error::damaged(
                        &member.place.to_string_lossy(),
                        "its content ends too early",
                    ));
                }
                file.write_all(buffer.get(..n).unwrap_or_default()).map_err(failed)?;
                left -= n as u64;
            }
        }
        settle(&file, member)
    }
}

fn create(member: &Member, again: bool) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600).create_new(true);
    let made = options.open(&member.place);
    let made = match made {
        Err(error) if again && error.kind() == std::io::ErrorKind::AlreadyExists => {
            // Names in a tree are unique, so this is the first attempt's file, not a link.
            std::fs::remove_file(&member.place).and_then(|()| options.open(&member.place))
        }
        made => made,
    };
    made.map_err(|error| Error::file("create", &member.place, error))
}

/// Sets the length, which makes the hole at the end.
fn settle(file: &File, member: &Member) -> Result<()> {
    file.set_len(member.size).map_err(|error| Error::file("write", &member.place, error))
}

fn pass_over(source: &mut impl Read, bytes: u64) -> Result<()> {
    std::io::copy(&mut source.take(bytes), &mut std::io::sink()).map(drop).map_err(Error::from_io)
}
