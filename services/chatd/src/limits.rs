//! Token buckets by key (account, address): time in, yes or no out. Bounded memory: when the table is full, full buckets are forgotten
//! first, which changes nothing for anybody, and if none is full a newcomer is refused.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

/// How fast one key may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens a second.
    pub per_second: u32,
    /// Tokens that can be saved up.
    pub burst: u32,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of a token.
    level: u64,
    /// Milliseconds.
    at: u64,
}

/// Buckets of one kind.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    most: usize,
    table: HashMap<K, Bucket>,
    /// When full buckets were looked for last.
    swept: Option<u64>,
}

/// Between two looks through a full table: a flood of newcomers must not make each of them walk through all of it.
const SWEEP: u64 = 100;

impl<K: Hash + Eq> Buckets<K> {
    /// At most `most` keys are remembered.
    pub fn new(rate: Rate, most: usize) -> Self {
        Self { rate, most, table: HashMap::new(), swept: None }
    }

    /// Takes one token of `key` at `now` (milliseconds of a clock that never goes back; if it does, nothing is refilled).
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

    /// Keys remembered.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

fn level(bucket: &Bucket, rate: Rate, now: u64) -> u64 {
    let gained = now.saturating_sub(bucket.at).saturating_mul(u64::from(rate.per_second));
    bucket.level.saturating_add(gained).min(u64::from(rate.burst) * 1000)
}

/// What counts as one address: an IPv4 address, or the /64 that an IPv6 host is given whole; else one host would have 2^64 budgets.
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// How many of something each key has open; a key without any is forgotten.
#[derive(Debug)]
pub struct Counts<K> {
    most: u32,
    table: HashMap<K, u32>,
}

impl<K: Hash + Eq> Counts<K> {
    /// At most `most` a key.
    pub fn new(most: u32) -> Self {
        Self { most, table: HashMap::new() }
    }

    /// One more; false, and nothing counted, if there are too many.
    pub fn enter(&mut self, key: K) -> bool {
        let count = self.table.entry(key).or_insert(0);
        let room = *count < self.most;
        *count += u32::from(room);
        room
    }

    /// One less.
    pub fn leave(&mut self, key: &K) {
        if let Some(count) = self.table.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.table.remove(key);
            }
        }
    }
}
