//! Remembers tokens that were verified, because every message of a login brings its token. It holds no token: a core dump must not give an attacker
//! tokens to use. It never holds a refusal, and it holds no answer about time: the caller compares the times at each use.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::claims::{Claims, Times};

/// The most entries of each half. A user with many valid tokens can evict the entries of others. Their next message then costs one signature check.
const HALF: usize = 4096;

/// What was read from a verified token.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) claims: Claims,
    pub(crate) times: Times,
    /// The keys that verified it. Other keys must verify it anew: the issuer may have withdrawn the one that signed it.
    keys: [u8; 32],
}

impl Verified {
    pub(crate) const fn new(claims: Claims, times: Times, keys: [u8; 32]) -> Self {
        Self { claims, times, keys }
    }
}

type Digest = [u8; 32];

/// At most two times [`HALF`] entries, by the SHA-256 of the token. The older half is dropped when the newer one is full. One cache belongs to one policy,
/// as its verifier does.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    newer: HashMap<Digest, Arc<Verified>>,
    older: HashMap<Digest, Arc<Verified>>,
}

impl Halves {
    fn put(&mut self, token: Digest, verified: Arc<Verified>) {
        if self.newer.len() >= HALF && !self.newer.contains_key(&token) {
            self.older = mem::take(&mut self.newer);
        }
        self.newer.insert(token, verified);
    }
}

impl Cache {
    /// The key of an entry.
    pub(crate) fn digest(token: &str) -> Digest {
        Sha256::digest(token.as_bytes()).into()
    }

    /// The entry of a token, if these keys have verified it before.
    pub(crate) fn get(&self, token: &Digest, keys: &Digest) -> Option<Arc<Verified>> {
        let mut halves = self.0.lock();
        if let Some(found) = halves.newer.get(token) {
            return Some(found.clone()).filter(|v| v.keys == *keys);
        }
        let found = halves.older.remove(token).filter(|v| v.keys == *keys)?;
        halves.put(*token, found.clone());
        Some(found)
    }

    pub(crate) fn put(&self, token: Digest, verified: Verified) {
        self.0.lock().put(token, Arc::new(verified));
    }

    /// Drops a token that has ended.
    pub(crate) fn forget(&self, token: &Digest) {
        let mut halves = self.0.lock();
        halves.newer.remove(token);
        halves.older.remove(token);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let halves = self.0.lock();
        halves.newer.len() + halves.older.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Subject;
    use crate::claims::Times;

    fn verified(keys: u8) -> Verified {
        let subject = Subject { issuer: "i".into(), subject: "s".into(), enrolment: None };
        Verified::new(Claims { subject, key: None, expires: 1 }, Times::for_test(1), [keys; 32])
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let cache = Cache::default();
        let used = Cache::digest("used");
        cache.put(used, verified(1));
        for n in 0..4 * HALF {
            cache.put(Cache::digest(&n.to_string()), verified(1));
            assert!(cache.get(&used, &[1; 32]).is_some(), "{n}");
            assert!(cache.len() <= 2 * HALF);
        }
        assert!(cache.get(&Cache::digest("0"), &[1; 32]).is_none(), "the oldest goes");
    }

    #[test]
    fn other_keys_find_nothing() {
        let cache = Cache::default();
        let token = Cache::digest("token");
        cache.put(token, verified(1));
        assert!(cache.get(&token, &[2; 32]).is_none());
        assert!(cache.get(&token, &[1; 32]).is_some());
        cache.forget(&token);
        assert!(cache.get(&token, &[1; 32]).is_none());
    }
}
