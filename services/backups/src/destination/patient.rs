//! Tries again while a destination does not answer. Each try sends the same bytes: an object is sealed once.

use std::ops::{ControlFlow, Range};
use std::time::Duration;

use super::{Destination, Fault, Listed, Meta};

/// A destination whose calls are repeated after [`Fault::Unavailable`], with these pauses between the tries. Other faults are final.
pub struct Patient<'a> {
    inner: &'a dyn Destination,
    pauses: &'a [Duration],
    sleep: &'a (dyn Fn(Duration) + Send + Sync),
}

impl<'a> Patient<'a> {
    /// `sleep` waits, and may return early when the caller is cancelled.
    pub fn new(
        inner: &'a dyn Destination,
        pauses: &'a [Duration],
        sleep: &'a (dyn Fn(Duration) + Send + Sync),
    ) -> Self {
        Self { inner, pauses, sleep }
    }

    fn again<T>(&self, mut call: impl FnMut() -> Result<T, Fault>) -> Result<T, Fault> {
        for pause in self.pauses {
            match call() {
                Err(Fault::Unavailable(_)) => (self.sleep)(*pause),
                other => return other,
            }
        }
        call()
    }
}

impl std::fmt::Debug for Patient<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patient").field("pauses", &self.pauses).finish_non_exhaustive()
    }
}

impl Destination for Patient<'_> {
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        self.again(|| self.inner.write(name, bytes))
    }

    fn read(&self, name: &str, copy: usize, range: Range<u64>) -> Result<Vec<u8>, Fault> {
        self.again(|| self.inner.read(name, copy, range.clone()))
    }

    fn stat(&self, name: &str) -> Result<Vec<Meta>, Fault> {
        self.again(|| self.inner.stat(name))
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), Fault> {
        self.again(|| self.inner.list(folder, each))
    }

    fn folders(&self, folder: &str) -> Result<Vec<String>, Fault> {
        self.again(|| self.inner.folders(folder))
    }

    fn delete(&self, name: &str) -> Result<(), Fault> {
        self.again(|| self.inner.delete(name))
    }
}
