//! Fetches the keys at intervals, and soon after a token names an unknown key. A limit holds whatever an attacker sends. While fetches fail, the last
//! good keys stay in use for a day.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::keys::Keys;
use crate::{KeySource, KeysError, TokenError};

/// How often keys are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// The interval of regular fetches.
    pub every: Duration,
    /// The shortest time between fetches because of unknown keys.
    pub at_most_every: Duration,
}

impl Default for Refresh {
    fn default() -> Self {
        Self { every: Duration::from_mins(10), at_most_every: Duration::from_secs(10) }
    }
}

/// The longest age of keys. Otherwise an attacker who blocks the fetch could use a withdrawn key without end.
pub const MAX_KEY_AGE: Duration = Duration::from_hours(24);

/// The current keys and their source.
#[derive(Debug)]
pub struct KeyRing {
    source: KeySource,
    keys: RwLock<Current>,
    refreshed: AtomicU64,
    wanted: Notify,
    rounds: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Current {
    keys: Arc<Keys>,
    /// By the monotonic clock. An attacker who sets the wall clock back does not make old keys young.
    since: Option<Instant>,
}

impl KeyRing {
    /// Fetches once. If a remote source can't be reached, the ring is empty and refuses every token until [`KeyRing::run`] succeeds, because a vault
    /// must start even if the issuer does not answer.
    pub async fn load(source: KeySource) -> Result<Arc<Self>, KeysError> {
        let (rounds, _) = watch::channel(0);
        let ring = Self {
            source,
            keys: RwLock::default(),
            refreshed: AtomicU64::new(0),
            wanted: Notify::new(),
            rounds,
        };
        match ring.refresh().await {
            Err(e @ KeysError::Scheme { .. }) => return Err(e),
            Err(e) if !ring.source.is_remote() => return Err(e),
            Err(e) => {
                tracing::warn!(error = %e, "the issuer's keys can't be fetched, every token is refused until they can");
            }
            Ok(()) => {}
        }
        Ok(Arc::new(ring))
    }

    /// Fetches now, outside the schedule.
    pub async fn refresh(&self) -> Result<(), KeysError> {
        let fetched = self.source.fetch().await;
        let result = fetched.map(|keys| {
            *self.keys.write() = Current { keys: Arc::new(keys), since: Some(Instant::now()) };
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
            self.refreshed.store(now, Ordering::Relaxed);
        });
        self.rounds.send_modify(|n| *n = n.wrapping_add(1));
        result
    }

    /// Fetches keys until cancelled. Run it in one owned task.
    pub async fn run(self: Arc<Self>, refresh: Refresh, stop: CancellationToken) {
        let mut last = Instant::now();
        let every = self.source.every(refresh.every);
        let (mut failing, mut stale) = (false, false);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(last + every) => {}
                () = self.wanted.notified() => {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = sleep_until(last + refresh.at_most_every) => {}
                    }
                }
            }
            last = Instant::now();
            match self.refresh().await {
                Ok(()) => (failing, stale) = (false, false),
                // Log only the first failure in a row, and once that the keys are too old.
                Err(e) if !failing => {
                    failing = true;
                    tracing::warn!(error = %e, "the issuer's keys can't be fetched, the last good keys stay in use for a day");
                }
                Err(e) if !stale && !self.is_fresh() => {
                    stale = true;
                    tracing::error!(error = %e, "the issuer's keys are older than a day, every token is refused until they can be fetched");
                }
                Err(_) => {}
            }
        }
    }

    /// When keys were last fetched, in seconds since the Unix epoch, or 0 for never. For the metric `bkv_jwks_refreshed_timestamp_seconds`.
    pub fn refreshed(&self) -> u64 {
        self.refreshed.load(Ordering::Relaxed)
    }

    /// True if there are keys younger than [`MAX_KEY_AGE`]. Otherwise every token is refused. Keys of an inline source have no age, because the root signed
    /// them with the policy.
    pub fn is_fresh(&self) -> bool {
        self.current().is_ok_and(|keys| keys.is_some())
    }

    /// The keys. None before the first fetch.
    pub(crate) fn current(&self) -> Result<Option<Arc<Keys>>, TokenError> {
        let current = self.keys.read();
        let Some(since) = current.since else { return Ok(None) };
        if since.elapsed() > MAX_KEY_AGE && !matches!(self.source, KeySource::Inline(_)) {
            return Err(TokenError::KeysTooOld);
        }
        Ok(Some(current.keys.clone()))
    }

    /// Asks the task for a fetch, without waiting.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
    }

    /// Asks and waits for the next fetch to end, at most `patience`.
    pub(crate) async fn want_and_wait(&self, patience: Duration) -> bool {
        let mut rounds = self.rounds.subscribe();
        self.want();
        matches!(timeout(patience, rounds.changed()).await, Ok(Ok(())))
    }
}
