//! The only writing thread: it takes all jobs handed in, commits them with one fsync, then calls their callbacks.
//!
//! After the first failed commit nothing more is written. A later commit must not become durable without it: the head on disk would record an entry
//! as applied whose charge is missing, and after a restart an attacker would have that guess for free. So the writer refuses everything after, and
//! the process ends. What it acknowledged is on disk, and the log has the rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::Histogram;
use redb::{Database, ReadableDatabase as _};
use tokio::sync::watch;

use super::{Done, Pin, Place, ROWS, StoreError, Unflushed};

/// Most jobs in one transaction.
const MOST: usize = 1024;
/// A commit with this many rows shows that many callers are waiting, so the next commit gathers for a moment first, and longer after a larger one. Each
/// commit rewrites the same inner pages and costs an fsync. Otherwise a job waits only once, behind such a commit.
const BUSY: usize = 24;
const GATHER: Duration = Duration::from_millis(3);
/// The longest such wait, in units of [`GATHER`].
const GATHERS: usize = 3;

struct Job {
    number: u64,
    changes: Vec<(Place, Option<Bytes>)>,
    done: Option<Done>,
    /// Ends the transaction, so that the view shows exactly this job's state.
    pin: Option<Pin>,
}

pub(super) struct Writer {
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    number: AtomicU64,
    failed: Failed,
}

/// The first failure, for watchers. It is never cleared.
pub(super) type Failed = Arc<watch::Sender<Option<StoreError>>>;

impl Writer {
    pub(super) fn start(
        db: Arc<Database>,
        unflushed: Unflushed,
        failed: Failed,
        times: Histogram,
    ) -> Result<Self, StoreError> {
        let (tx, rx) = channel();
        let fails = failed.clone();
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || run(&db, &rx, &unflushed, &fails, &times))
            .map_err(|e| StoreError::Database(format!("the writer thread can't start: {e}")))?;
        let (jobs, thread) = (Mutex::new(Some(tx)), Mutex::new(Some(thread)));
        Ok(Self { jobs, thread, number: AtomicU64::new(0), failed })
    }

    /// Stops all further writes.
    pub(super) fn fail(&self, why: &StoreError) {
        fail(&self.failed, why);
    }

    pub(super) fn failed(&self) -> watch::Receiver<Option<StoreError>> {
        self.failed.subscribe()
    }

    pub(super) fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn send(
        &self,
        number: u64,
        changes: Vec<(Place, Option<Bytes>)>,
        done: Option<Done>,
        pin: Option<Pin>,
    ) {
        let jobs = self.jobs.lock();
        let job = Job { number, changes, done, pin };
        let rest = match jobs.as_ref() {
            Some(tx) => tx.send(job).err().and_then(|e| e.0.done),
            None => job.done,
        };
        if let Some(done) = rest {
            done(Err(StoreError::Closed));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Closing the channel ends the thread after it has written the remaining jobs.
        self.jobs.lock().take();
        if let Some(t) = self.thread.lock().take() {
            let _ = t.join();
        }
    }
}

fn fail(failed: &Failed, why: &StoreError) {
    failed.send_if_modified(|f| {
        let first = f.is_none();
        f.get_or_insert_with(|| why.clone());
        first
    });
}

fn run(db: &Database, jobs: &Receiver<Job>, unflushed: &Unflushed, failed: &Failed, times: &Histogram) {
    let mut rows = 0;
    while let Ok(first) = jobs.recv() {
        let gathers = u32::try_from((rows / BUSY).min(GATHERS)).unwrap_or(0);
        if gathers > 0 {
            std::thread::sleep(GATHER * gathers);
        }
        let mut pinned = first.pin.is_some();
        let mut batch = vec![first];
        while batch.len() < MOST
            && !pinned
            && let Ok(job) = jobs.try_recv()
        {
            pinned = job.pin.is_some();
            batch.push(job);
        }
        rows = batch.iter().map(|j| j.changes.len()).sum();
        let started = Instant::now();
        let before = failed.borrow().clone();
        let result = before.map_or_else(|| commit(db, &batch), Err);
        times.observe(started.elapsed().as_secs_f64());
        if started.elapsed() > Duration::from_millis(500) {
            tracing::warn!(ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(0), "slow disk");
        }
        if let Err(e) = &result {
            tracing::error!(error = %e, "a commit failed: the store writes nothing more");
            fail(failed, e);
        } else {
            let mut unflushed = unflushed.lock();
            for job in &batch {
                for (place, _) in &job.changes {
                    // Keep the row if a newer job changed it.
                    if unflushed.get(place.bytes()).is_some_and(|(n, _)| *n == job.number) {
                        unflushed.remove(place.bytes());
                    }
                }
            }
        }
        for job in batch {
            if let Some(pin) = job.pin.filter(|_| result.is_ok()) {
                match db.begin_read() {
                    Ok(tx) => pin(tx),
                    Err(e) => {
                        tracing::warn!(error = %e, "no view of a checkpoint: no snapshot can be sent of it");
                    }
                }
            }
            if let Some(done) = job.done {
                done(result.clone());
            }
        }
    }
}

/// The last change of each place. Every job of a shard changes its head and its digest, and only the last ones are visible after the commit.
fn last_of_each(batch: &[Job]) -> BTreeMap<&[u8], Option<&[u8]>> {
    batch.iter().flat_map(|j| &j.changes).map(|(place, value)| (place.bytes(), value.as_deref())).collect()
}

fn commit(db: &Database, batch: &[Job]) -> Result<(), StoreError> {
    if batch.iter().all(|j| j.changes.is_empty()) {
        return Ok(());
    }
    let write = |e: &dyn std::fmt::Display| StoreError::Write(e.to_string());
    let tx = db.begin_write().map_err(|e| write(&e))?;
    {
        let mut rows = tx.open_table(ROWS).map_err(|e| write(&e))?;
        for (place, value) in last_of_each(batch) {
            match value {
                Some(v) => rows.insert(place, v).map_err(|e| write(&e))?,
                None => rows.remove(place).map_err(|e| write(&e))?,
            };
        }
    }
    tx.commit().map_err(|e| write(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Table;

    #[test]
    fn a_later_change_of_a_place_takes_the_place_of_an_earlier_one() {
        let place = |n| Place::numbered(Table::Event, 1, n);
        let value = |byte| Some(Bytes::from(vec![byte]));
        let job = |number, changes| Job { number, changes, done: None, pin: None };
        let batch = [
            job(1, vec![(place(1), value(1)), (place(2), value(2)), (place(3), None)]),
            job(2, vec![(place(1), None), (place(3), value(3)), (place(2), value(4))]),
        ];
        let (one, two, three) = (place(1), place(2), place(3));
        let expected = [(one.bytes(), None), (two.bytes(), Some(&[4][..])), (three.bytes(), Some(&[3][..]))];
        assert_eq!(last_of_each(&batch), expected.into_iter().collect());
    }
}
