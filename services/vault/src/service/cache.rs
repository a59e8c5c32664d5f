//! What was unmasked for a pending attempt, kept from Begin to Finish so that the token is asked once and not three times. Bounded, wiped when dropped.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bkv_core::id::{AccountId, AttemptId};

use crate::keeper::Unmasked;

/// Attempts kept at most.
const MOST: usize = 4096;

#[derive(Default)]
pub(super) struct Cache(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    known: HashMap<(AccountId, AttemptId), Arc<Unmasked>>,
    order: VecDeque<(AccountId, AttemptId)>,
}

impl Cache {
    pub(super) fn get(&self, key: &(AccountId, AttemptId)) -> Option<Arc<Unmasked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).known.get(key).cloned()
    }

    pub(super) fn put(&self, key: (AccountId, AttemptId), value: Arc<Unmasked>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.known.insert(key, value).is_none() {
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
