//! Sessions, time and rate.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cryptoki_sys::CK_SESSION_HANDLE;

use crate::profile::Profile;

/// The open sessions, and when the operations of the last second began.
pub(crate) struct Limits {
    sessions: Mutex<BTreeSet<CK_SESSION_HANDLE>>,
    begun: Mutex<VecDeque<Instant>>,
}

impl Limits {
    pub(crate) const fn new() -> Self {
        Self { sessions: Mutex::new(BTreeSet::new()), begun: Mutex::new(VecDeque::new()) }
    }

    /// Whether one more session may be open.
    pub(crate) fn room(&self, profile: &Profile) -> bool {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).len() < profile.sessions
    }

    pub(crate) fn opened(&self, session: CK_SESSION_HANDLE) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(session);
    }

    pub(crate) fn closed(&self, session: Option<CK_SESSION_HANDLE>) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        match session {
            Some(session) => drop(sessions.remove(&session)),
            None => sessions.clear(),
        }
    }

    /// Takes as long as an operation with a key does. False if this second has no more of them.
    pub(crate) fn operation(&self, profile: &Profile) -> bool {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while begun.front().is_some_and(|at| now.duration_since(*at) >= Duration::from_secs(1)) {
            begun.pop_front();
        }
        let may = begun.len() < profile.rate;
        if may {
            begun.push_back(now);
        }
        drop(begun);
        std::thread::sleep(profile.takes);
        may
    }
}
