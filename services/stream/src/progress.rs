//! What a long backup or restore tells its caller, and how the caller stops it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::error::{Error, Result};

/// Called from the thread that runs the backup or restore; must return quickly.
pub trait Progress {
    /// Plaintext bytes done so far, and their total where it is known.
    fn bytes(&self, _done: u64, _total: Option<u64>) {}
    /// A file was finished; `files` counts them.
    fn file(&self, _path: &Path, _files: u64) {}
}

impl Progress for () {}

/// A flag that another thread or a signal handler raises; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the operation to stop at the next segment or file.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Progress and cancel flag, passed together.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    /// Who is told.
    pub progress: &'a dyn Progress,
    /// Who may stop it.
    pub cancel: &'a Cancel,
}

impl Control<'_> {
    pub(crate) fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

impl std::fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("cancel", self.cancel).finish_non_exhaustive()
    }
}
