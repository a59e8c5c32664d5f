//! What was unmasked for a pending attempt, kept from Begin to Finish so that the token is asked once and not three times. Bounded in number and in time,
//! wiped when dropped: what has been destroyed must not live on in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bkv_core::id::{AccountId, AttemptId, RegId};
use tokio::time::Instant;

use crate::keeper::Unmasked;

/// Attempts kept at most.
const MOST: usize = 4096;
/// A client needs a few seconds from Begin to Finish; whoever needs longer makes the token work once more.
const KEPT: Duration = Duration::from_secs(30);

type Key = (AccountId, AttemptId);

#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<Key, (RegId, Instant, Arc<Unmasked>)>>);

impl Cache {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (RegId, Instant, Arc<Unmasked>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of this registration only: attempt ids are the client's, and one that is used again in the next generation must not find the old share (S13).
    pub(super) fn get(&self, key: &Key, of: &RegId) -> Option<Arc<Unmasked>> {
        self.lock().get(key).filter(|(reg_id, ..)| reg_id == of).map(|(.., unmasked)| unmasked.clone())
    }

    /// Nothing more is kept while it is full: the token is asked again.
    pub(super) fn put(&self, key: Key, of: RegId, value: Arc<Unmasked>) {
        let mut known = self.lock();
        if known.len() < MOST {
            known.insert(key, (of, Instant::now(), value));
        }
    }

    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// Drops what is older than anybody needs it, of keys that have ended since too.
    pub(super) fn sweep(&self) {
        self.lock().retain(|_, (_, since, _)| since.elapsed() < KEPT);
    }
}
