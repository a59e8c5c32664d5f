//! Writes objects on several threads, with a bounded number in flight.
//! Each object is sealed once. A retry sends the same bytes, so no nonce is ever used for two texts.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

use crate::destination::{Destination, Fault};
use crate::error::{Error, Result};
use crate::format::Folder;

#[derive(Default)]
struct State {
    waiting: VecDeque<(u128, Vec<u8>)>,
    running: usize,
    failed: Option<Error>,
    closed: bool,
    written: Vec<(u128, u64)>,
    bytes: u64,
}

/// The uploads of one backup. [`Uploads::serve`] runs on the threads that write.
pub(crate) struct Uploads<'a> {
    destination: &'a dyn Destination,
    folder: &'a Folder,
    state: Mutex<State>,
    changed: Condvar,
    most: usize,
}

impl<'a> Uploads<'a> {
    /// At most `most` objects wait or are being written.
    pub(crate) fn new(destination: &'a dyn Destination, folder: &'a Folder, most: usize) -> Self {
        Self {
            destination,
            folder,
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            most: most.max(1),
        }
    }

    /// Takes an object. Waits while too many are in flight. Returns the first error of any upload.
    pub(crate) fn push(&self, name: u128, bytes: Vec<u8>) -> Result<()> {
        let mut state = self.state.lock();
        while state.failed.is_none() && state.waiting.len() + state.running >= self.most {
            self.changed.wait(&mut state);
        }
        if let Some(error) = state.failed.take() {
            // The backup ends with this error. Later pushes, which unwinding makes, fail too.
            state.failed = Some(Error::Cancelled);
            return Err(error);
        }
        state.waiting.push_back((name, bytes));
        self.changed.notify_all();
        Ok(())
    }

    /// Waits until all objects are written. Returns them with their lengths.
    pub(crate) fn settle(&self) -> Result<(Vec<(u128, u64)>, u64)> {
        let mut state = self.state.lock();
        while state.failed.is_none() && !(state.waiting.is_empty() && state.running == 0) {
            self.changed.wait(&mut state);
        }
        match state.failed.take() {
            Some(error) => Err(error),
            None => Ok((std::mem::take(&mut state.written), state.bytes)),
        }
    }

    /// Ends the threads.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// Writes objects until [`Uploads::close`].
    pub(crate) fn serve(&self) {
        let mut state = self.state.lock();
        loop {
            if state.failed.is_none()
                && let Some((name, bytes)) = state.waiting.pop_front()
            {
                state.running += 1;
                drop(state);
                let result = write(self.destination, &self.folder.path_of(name), &bytes);
                state = self.state.lock();
                state.running -= 1;
                match result {
                    Ok(()) => {
                        state.written.push((name, bytes.len() as u64));
                        state.bytes += bytes.len() as u64;
                    }
                    Err(error) => state.failed = state.failed.take().or(Some(error)),
                }
                self.changed.notify_all();
            } else if state.closed {
                return;
            } else {
                self.changed.wait(&mut state);
            }
        }
    }
}

/// Writes one object. A destination that lost its answer may have written it: then the same bytes are there.
pub(crate) fn write(destination: &dyn Destination, name: &str, bytes: &[u8]) -> Result<()> {
    match destination.write(name, bytes) {
        Ok(()) => Ok(()),
        Err(Fault::Exists)
            if destination.read(name, 0, 0..bytes.len() as u64 + 1).is_ok_and(|there| there == bytes) =>
        {
            Ok(())
        }
        Err(fault) => Err(Error::at("write", name, fault)),
    }
}
