//! Seals or opens segments on several threads and returns them in order, within a bounded window.
//! The caller's thread is one of the workers, and the only one that does I/O.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    thread::JoinHandle,
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use zeroize::Zeroize;

use crate::{
    error::{Error, Result},
    segment::{Broken, Cipher},
};

/// A buffer of one segment's size, of which `len` bytes are used. It never grows, so its bytes are neither copied nor cleared between uses.
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    pub(crate) len: usize,
}

impl Chunk {
    /// A placeholder without a buffer.
    pub(crate) fn empty() -> Self {
        Self { bytes: Vec::new(), len: 0 }
    }

    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The buffer may hold plaintext, so it is wiped before the allocator gets it back.
impl Drop for Chunk {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Seal,
    Open,
}

struct Job {
    index: u32,
    last: bool,
    chunk: Chunk,
}

type Outcome = std::result::Result<Chunk, Broken>;

struct State {
    waiting: VecDeque<Job>,
    done: BTreeMap<u32, Outcome>,
    stop: bool,
}

struct Shared {
    cipher: Cipher,
    direction: Direction,
    state: Mutex<State>,
    work: Condvar,
    finished: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn run(&self, job: Job) -> (u32, Outcome) {
        let Job { index, last, mut chunk } = job;
        let len = match self.direction {
            // Sealing fails only if a length is wrong. The caller then stops and writes none of it.
            Direction::Seal => {
                self.cipher.seal(&mut chunk.bytes, chunk.len, index, last).map_err(|_| Broken::Corrupt)
            }
            Direction::Open => self.cipher.open(&mut chunk.bytes, chunk.len, index, last),
        };
        (
            index,
            len.map(|len| {
                chunk.len = len;
                chunk
            }),
        )
    }

    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if state.stop {
                return;
            }
            if let Some(job) = state.waiting.pop_front() {
                drop(state);
                let (index, outcome) = self.run(job);
                state = self.lock();
                state.done.insert(index, outcome);
                self.finished.notify_one();
            } else {
                self.work.wait(&mut state);
            }
        }
    }
}

/// Processes segments in parallel, in a bounded window, and returns them in order.
pub(crate) struct Pipeline {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    window: usize,
    in_flight: usize,
    next_in: Option<u32>,
    next_out: u32,
    free: Vec<Chunk>,
    segment: usize,
}

impl Pipeline {
    pub(crate) fn new(cipher: Cipher, direction: Direction, segment: usize, workers: usize) -> Result<Self> {
        let shared = Arc::new(Shared {
            cipher,
            direction,
            state: Mutex::new(State { waiting: VecDeque::new(), done: BTreeMap::new(), stop: false }),
            work: Condvar::new(),
            finished: Condvar::new(),
        });
        let mut pipeline = Self {
            shared: Arc::clone(&shared),
            threads: Vec::new(),
            window: if workers == 1 { 1 } else { 2 * workers },
            in_flight: 0,
            next_in: Some(0),
            next_out: 0,
            free: Vec::new(),
            segment,
        };
        for number in 1..workers {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("bkv-stream-{number}"));
            pipeline.threads.push(builder.spawn(move || shared.serve()).map_err(Error::Io)?);
        }
        Ok(pipeline)
    }

    /// An empty buffer.
    pub(crate) fn take(&mut self) -> Chunk {
        self.free.pop().map_or_else(
            || Chunk { bytes: vec![0; self.segment], len: 0 },
            |mut chunk| {
                chunk.len = 0;
                chunk
            },
        )
    }

    pub(crate) fn give_back(&mut self, chunk: Chunk) {
        self.free.push(chunk);
    }

    pub(crate) fn has_room(&self) -> bool {
        self.in_flight < self.window
    }

    /// The number of the segment that is submitted next. An error after 2³² segments.
    pub(crate) fn next_index(&self) -> Result<u32> {
        self.next_in.ok_or(Error::TooLong)
    }

    pub(crate) fn submit(&mut self, chunk: Chunk, last: bool) -> Result<()> {
        let index = self.next_index()?;
        // The number is part of the nonce, so it must never repeat.
        self.next_in = index.checked_add(1);
        self.in_flight += 1;
        self.shared.lock().waiting.push_back(Job { index, last, chunk });
        self.shared.work.notify_one();
        Ok(())
    }

    /// The next finished segment, in order. The caller's thread works too while it waits. `None` if no segment is in flight.
    pub(crate) fn next(&mut self) -> Option<(u32, Outcome)> {
        if self.in_flight == 0 {
            return None;
        }
        let index = self.next_out;
        let mut state = self.shared.lock();
        loop {
            if let Some(outcome) = state.done.remove(&index) {
                self.in_flight -= 1;
                self.next_out = index.wrapping_add(1);
                return Some((index, outcome));
            }
            if let Some(job) = state.waiting.pop_front() {
                drop(state);
                let (done, outcome) = self.shared.run(job);
                state = self.shared.lock();
                state.done.insert(done, outcome);
            } else {
                self.shared.finished.wait(&mut state);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn start_at(&mut self, index: u32) {
        self.next_in = Some(index);
        self.next_out = index;
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stop = true;
        state.waiting.clear();
        drop(state);
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // Ignore a worker's panic: it holds no state that outlives it.
            drop(thread.join());
        }
    }
}
