//! What was unmasked for a pending attempt, kept from Begin to Finish so that the token is asked once and not three times. Bounded, wiped when dropped.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bkv_core::id::{AccountId, AttemptId, RegId};

use crate::keeper::Unmasked;

/// Attempts kept at most.
const MOST: usize = 4096;

#[derive(Default)]
pub(super) struct Cache(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    known: HashMap<(AccountId, AttemptId), (RegId, Arc<Unmasked>)>,
    order: VecDeque<(AccountId, AttemptId)>,
}

impl Cache {
    /// Of this registration only: attempt ids are the client's, and one that is used again in the next generation must not find the old share (S13).
    pub(super) fn get(&self, key: &(AccountId, AttemptId), of: &RegId) -> Option<Arc<Unmasked>> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.known.get(key).filter(|(reg_id, _)| reg_id == of).map(|(_, unmasked)| unmasked.clone())
    }

    pub(super) fn put(&self, key: (AccountId, AttemptId), of: RegId, value: Arc<Unmasked>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.known.insert(key, (of, value)).is_none() {
            inner.order.push_back(key);
        }
        while inner.known.len() > MOST
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.known.remove(&oldest);
        }
    }

    pub(super) fn forget(&self, key: &(AccountId, AttemptId)) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.known.remove(key);
        if inner.order.len() > 2 * MOST {
            let known: Vec<_> =
                inner.order.iter().filter(|k| inner.known.contains_key(*k)).copied().collect();
            inner.order = known.into();
        }
    }
}
