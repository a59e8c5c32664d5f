//! Progress reports of a backup or restore, and how the caller cancels it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::error::{Error, Result};

/// Receives progress reports on the thread that runs the backup or restore. Each call must return quickly.
pub trait Progress {
    /// Reports the plaintext bytes done so far, and their total where it is known.
    fn bytes(&self, _done: u64, _total: Option<u64>) {}
    /// Reports a finished file. `files` is the number of files so far.
    fn file(&self, _path: &Path, _files: u64) {}
}

impl Progress for () {}

/// A flag that another thread or a signal handler sets. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Makes the operation stop at the next segment or file.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True once [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Progress and cancel flag, passed together.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    /// Receives the reports.
    pub progress: &'a dyn Progress,
    /// Cancels the operation when set.
    pub cancel: &'a Cancel,
}

impl Control<'_> {
    /// Returns [`Error::Cancelled`] once the operation is cancelled.
    pub fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

impl std::fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("cancel", self.cancel).finish_non_exhaustive()
    }
}
