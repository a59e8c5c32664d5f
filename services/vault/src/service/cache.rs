//! Unmasked secrets of pending attempts, cached from Begin to Finish so that the token is asked once instead of three times. Bounded in number and in
//! time. Dropped secrets are wiped: a destroyed key must not stay in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bkv_core::id::{AccountId, AttemptId, RegId};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::keeper::Unmasked;

/// Most attempts in the cache.
const MOST: usize = 4096;
/// A client needs a few seconds from Begin to Finish. For a slower client the token unmasks the secrets again.
const KEPT: Duration = Duration::from_secs(30);

type Key = (AccountId, AttemptId);

#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<Key, (RegId, Instant, Arc<Unmasked>)>>);

impl Cache {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (RegId, Instant, Arc<Unmasked>)>> {
        self.0.lock()
    }

    /// Returns a secret of this registration only. Clients choose attempt ids: an id reused in the next generation must not find the old share (S13).
    pub(super) fn get(&self, key: &Key, of: &RegId) -> Option<Arc<Unmasked>> {
        self.lock().get(key).filter(|(reg_id, ..)| reg_id == of).map(|(.., unmasked)| unmasked.clone())
    }

    /// Does nothing while the cache is full: the token is asked again.
    pub(super) fn put(&self, key: Key, of: RegId, value: Arc<Unmasked>) {
        let mut known = self.lock();
        if known.len() < MOST {
            known.insert(key, (of, Instant::now(), value));
        }
    }

    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// Drops secrets older than `KEPT`, also those of keys destroyed since.
    pub(super) fn sweep(&self) {
        self.lock().retain(|_, (_, since, _)| since.elapsed() < KEPT);
    }
}
