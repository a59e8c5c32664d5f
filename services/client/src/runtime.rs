//! Time and randomness as parameters, so that a simulation can drive the SDK and replay a run.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bkv_core::id::Time;
use futures_util::future::{Either, select};
use rand::{CryptoRng, RngCore};

use crate::transport::Transport;

/// A source of time.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Wall clock, milliseconds since 1970. Documents and certificates are checked against it.
    fn now(&self) -> Time;
    /// Time since any fixed moment. Never goes back. Deadlines count by it.
    fn elapsed(&self) -> Duration;
    /// Returns after `time`.
    async fn sleep(&self, time: Duration);
}

/// A source of randomness. Must be unpredictable: attempt ids, blinding factors and keys are drawn from it.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rngs::OsRng.fill_bytes(bytes);
    }
}

/// All external dependencies of the SDK.
#[derive(Clone)]
pub struct Runtime {
    /// The transport to ChatD.
    pub transport: Arc<dyn Transport>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Runtime(..)")
    }
}

impl Runtime {
    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }

    pub(crate) fn rng(&self) -> Draw<'_> {
        Draw(&*self.random)
    }
}

/// [`Random`] as the `rand` crate's traits.
pub(crate) struct Draw<'a>(&'a dyn Random);

impl RngCore for Draw<'_> {
    fn next_u32(&mut self) -> u32 {
        let mut b = [0; 4];
        self.0.fill(&mut b);
        u32::from_le_bytes(b)
    }
    fn next_u64(&mut self) -> u64 {
        let mut b = [0; 8];
        self.0.fill(&mut b);
        u64::from_le_bytes(b)
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill(dest);
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand::Error> {
        self.0.fill(dest);
        Ok(())
    }
}

impl CryptoRng for Draw<'_> {}

/// None if `limit` passes first.
pub(crate) async fn within<T>(
    clock: &dyn Clock,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    match select(pin!(work), clock.sleep(limit)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// The machine's clock and tokio's timer.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug)]
pub struct TokioClock(std::time::Instant);

#[cfg(feature = "tokio")]
impl Default for TokioClock {
    fn default() -> Self {
        Self(std::time::Instant::now())
    }
}

#[cfg(feature = "tokio")]
#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Time {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
