//! Token buckets by key (account, address), with the time as a parameter. Memory is bounded: a full table drops full buckets, which changes no decision.
//! If no bucket is full, new keys are refused.

use std::collections::HashMap;
use std::hash::Hash;

/// The rate limit of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens per second.
    pub per_second: u32,
    /// Most tokens in a bucket.
    pub burst: u32,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In thousandths of a token.
    level: u64,
    /// Time of the level, in milliseconds.
    at: u64,
}

/// The buckets of all keys of one kind.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    most: usize,
    table: HashMap<K, Bucket>,
    /// Time of the last sweep.
    swept: Option<u64>,
}

/// Milliseconds between two sweeps of a full table. A sweep for each new key would cost too much under a flood.
const SWEEP: u64 = 100;

impl<K: Hash + Eq> Buckets<K> {
    /// Keeps at most `most` keys.
    pub fn new(rate: Rate, most: usize) -> Self {
        Self { rate, most, table: HashMap::new(), swept: None }
    }

    /// Takes one token of `key` at `now`, in milliseconds of a monotonic clock. If the clock goes back, no bucket is refilled.
    pub fn take(&mut self, key: K, now: u64) -> bool {
        let (rate, full) = (self.rate, u64::from(self.rate.burst) * 1000);
        if self.table.len() >= self.most && !self.table.contains_key(&key) {
            if self.swept.is_none_or(|at| now >= at.saturating_add(SWEEP)) {
                self.swept = Some(now);
                self.table.retain(|_, b| level(b, rate, now) < full);
            }
            if self.table.len() >= self.most {
                return false;
            }
        }
        let bucket = self.table.entry(key).or_insert(Bucket { level: full, at: now });
        let now_level = level(bucket, rate, now);
        *bucket = Bucket { level: now_level.saturating_sub(1000), at: bucket.at.max(now) };
        if now_level < 1000 {
            bucket.level = now_level;
        }
        now_level >= 1000
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True without any key.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

fn level(bucket: &Bucket, rate: Rate, now: u64) -> u64 {
    let gained = now.saturating_sub(bucket.at).saturating_mul(u64::from(rate.per_second));
    bucket.level.saturating_add(gained).min(u64::from(rate.burst) * 1000)
}

/// Counts what each key has open, for example connections.
#[derive(Debug)]
pub struct Counts<K> {
    most: u32,
    table: HashMap<K, u32>,
}

impl<K: Hash + Eq> Counts<K> {
    /// Allows at most `most` per key.
    pub fn new(most: u32) -> Self {
        Self { most, table: HashMap::new() }
    }

    /// Counts one more. Returns false and counts nothing if the key has `most` already.
    pub fn enter(&mut self, key: K) -> bool {
        let count = self.table.entry(key).or_insert(0);
        let room = *count < self.most;
        *count += u32::from(room);
        room
    }

    /// Counts one less.
    pub fn leave(&mut self, key: &K) {
        if let Some(count) = self.table.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.table.remove(key);
            }
        }
    }
}
