//! Reads a file once. A file that changes, shrinks or fails while it is read costs itself only.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::attributes::of;
use crate::error::{Error, Result};
use crate::format::tree::Extent;

/// A buffer is wiped after each file, so it is no longer than the file.
const BUFFER: u64 = 256 << 10;
/// With more runs, the holes are read as zeros.
const MAX_EXTENTS: usize = crate::format::tree::MAX_EXTENTS;

/// An open regular file.
pub(crate) struct Opened {
    file: File,
    pub(crate) meta: Metadata,
    extents: Vec<Extent>,
}

/// What was read.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// Length in bytes, holes included.
    pub(crate) size: u64,
    /// Runs of data. Empty = one run from 0.
    pub(crate) extents: Vec<Extent>,
    /// It changed while it was read.
    pub(crate) changed: bool,
}

impl Opened {
    /// Opens without following a link, and without waiting if another process has replaced the file by a pipe.
    pub(crate) fn new(path: &Path, sparse: bool) -> io::Result<Self> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let extents = if sparse { runs(&file, &meta)? } else { Vec::new() };
        Ok(Self { file, meta, extents })
    }

    /// Bytes of data, if the file does not change.
    pub(crate) fn data(&self) -> u64 {
        if self.is_all_hole() {
            0
        } else if self.extents.is_empty() {
            self.meta.len()
        } else {
            self.extents.iter().map(|extent| extent.length).sum()
        }
    }

    fn is_all_hole(&self) -> bool {
        matches!(self.extents.as_slice(), [only] if only.length == 0)
    }

    /// Reads the data. The inner error is the file's, the outer one the sink's.
    pub(crate) fn read(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<io::Result<Outcome>> {
        let mut size = self.meta.len();
        let mut kept = Vec::new();
        let dense = self.extents.is_empty();
        let whole = [Extent { offset: 0, length: size }];
        let runs: Vec<Extent> = if dense { whole.to_vec() } else { self.extents.clone() };
        let mut buffer = Zeroizing::new(vec![0; usize::try_from(size.min(BUFFER)).unwrap_or(1)]);
        for run in runs.into_iter().filter(|run| run.length > 0) {
            if !dense && let Err(error) = self.file.seek(SeekFrom::Start(run.offset)) {
                return Ok(Err(error));
            }
            let mut left = run.length;
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                let n = match self.file.read(buffer.get_mut(..most).unwrap_or_default()) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Ok(Err(error)),
                    Ok(n) => n,
                };
                if n == 0 {
                    break;
                }
                sink(buffer.get(..n).unwrap_or_default())?;
                left -= n as u64;
            }
            let read = run.length - left;
            if read > 0 {
                kept.push(Extent { offset: run.offset, length: read });
            }
            if left > 0 {
                // The file was truncated. What follows is gone.
                size = run.offset + read;
                break;
            }
        }
        let after = match self.file.metadata() {
            Ok(meta) => meta,
            Err(error) => return Ok(Err(error)),
        };
        let stamp = |meta: &Metadata| (meta.len(), of(meta).mtime, of(meta).ctime);
        let changed = size != self.meta.len() || stamp(&after) != stamp(&self.meta);
        Ok(Ok(Outcome { size, extents: if dense { Vec::new() } else { kept }, changed }))
    }
}

/// The runs of data of a sparse file. Empty if it is not sparse, one run of length 0 if it is all hole.
fn runs(file: &File, meta: &Metadata) -> io::Result<Vec<Extent>> {
    use rustix::fs::SeekFrom::{Data, Hole};
    if meta.blocks().saturating_mul(512) >= meta.len() {
        return Ok(Vec::new());
    }
    let mut runs = Vec::new();
    let mut at = 0;
    while at < meta.len() {
        let from = match rustix::fs::seek(file, Data(at)) {
            Ok(from) => from,
            Err(rustix::io::Errno::NXIO) => break,
            // The file system does not tell.
            Err(_) => return rewound(file, Vec::new()),
        };
        let to = rustix::fs::seek(file, Hole(from)).map_err(io::Error::from)?.min(meta.len());
        if from >= to || runs.len() == MAX_EXTENTS {
            return rewound(file, Vec::new());
        }
        runs.push(Extent { offset: from, length: to - from });
        at = to;
    }
    if runs.is_empty() {
        runs.push(Extent { offset: 0, length: 0 });
    }
    rewound(file, runs)
}

fn rewound(mut file: &File, runs: Vec<Extent>) -> io::Result<Vec<Extent>> {
    file.rewind()?;
    Ok(runs)
}

/// Adds the path to an error of reading a source.
pub(crate) fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Unreadable { path: path.to_owned(), source }
}
