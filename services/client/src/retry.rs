//! Repeats an operation until it succeeds or its deadline passes. A repetition has the same ids, so it never costs a try.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures_util::FutureExt as _;

use crate::error::{Distrust, Error, Whose};
use crate::fault::{Cause, Fault};
use crate::runtime::{Clock, Runtime};
use crate::timing::Timing;
use crate::token::HeldToken;

/// How often the client installs newer documents without a pause.
const MAX_BUNDLES: u8 = 3;
/// How often the client gets a fresh token in one operation.
const MAX_TOKENS: u8 = 3;
/// After this many vaults without an admitted key, whose regions ChatD does not name, the fleet is not trusted. One may be a single lying region.
const MAX_STRANGERS: u8 = 4;

/// Back-off with jitter until a deadline.
pub(crate) struct Retry<'a> {
    runtime: &'a Runtime,
    token: &'a HeldToken,
    deadline: Duration,
    pause: DeadlinePause,
    pauses: Pauses,
    bundles: u8,
    tokens: u8,
    strangers: u8,
}

/// The time that a user has taken to answer a question. It does not count towards the deadline.
#[derive(Clone, Default)]
pub(crate) struct DeadlinePause(Arc<AtomicU64>);

impl DeadlinePause {
    /// Runs `question` and lets the deadline wait for it.
    pub(crate) fn while_user_thinks<T>(&self, clock: &dyn Clock, question: impl FnOnce() -> T) -> T {
        let began = clock.elapsed();
        let answer = question();
        let took = clock.elapsed().saturating_sub(began);
        self.0.fetch_add(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        answer
    }

    pub(crate) fn length(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// The pauses between repetitions: each is between half and the whole of a length that doubles up to the longest. The random half keeps clients
/// that lost the same vault from coming back at the same moment.
struct Pauses(ExponentialBackoff);

impl Pauses {
    fn new(runtime: &Runtime, timing: &Timing) -> Self {
        // The jitter adds up to once the pause.
        let builder = ExponentialBuilder::new()
            .with_min_delay(timing.first_pause / 2)
            .with_max_delay(timing.longest_pause / 2)
            .with_factor(2.0)
            .without_max_times()
            .with_jitter()
            .with_jitter_seed(u64::from_le_bytes(runtime.bytes()));
        Self(builder.build())
    }

    fn next(&mut self) -> Duration {
        self.0.next().unwrap_or_default()
    }
}

impl<'a> Retry<'a> {
    pub(crate) fn new(runtime: &'a Runtime, timing: &'a Timing, token: &'a HeldToken) -> Self {
        let deadline = runtime.clock.elapsed().saturating_add(timing.deadline);
        let pause = DeadlinePause::default();
        Self {
            runtime,
            token,
            deadline,
            pause,
            pauses: Pauses::new(runtime, timing),
            bundles: 0,
            tokens: 0,
            strangers: 0,
        }
    }

    /// When the repetitions end, by the runtime's clock, if the user takes no time to answer.
    pub(crate) const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Lets the deadline wait for the user.
    pub(crate) fn pause_of_deadline(&self) -> DeadlinePause {
        self.pause.clone()
    }

    /// Repeats `once` until it succeeds, fails for good, or the deadline is near.
    pub(crate) async fn run<T, F>(self, mut once: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        self.run_with(&mut (), |unit| once().map(|ended| (unit, ended))).await
    }

    /// The same for an operation with a state that outlives its repetitions: `once` takes it and returns it.
    pub(crate) async fn run_with<'s, S, T, F>(
        mut self,
        mut state: &'s mut S,
        mut once: impl FnMut(&'s mut S) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = (&'s mut S, Result<T, Fault>)>,
    {
        loop {
            let ended;
            (state, ended) = once(state).await;
            match ended {
                Ok(done) => return Ok(done),
                Err(fault) => self.pause(fault).await?,
            }
        }
    }

    /// Waits before the next repetition. Fails if there is none: the fault is final, or the wait would end after the deadline.
    async fn pause(&mut self, fault: Fault) -> Result<(), Error> {
        let cause = fault.settle()?;
        if matches!(cause, Cause::NewerBundle) && self.bundles < MAX_BUNDLES {
            self.bundles += 1;
            return Ok(());
        }
        if matches!(cause, Cause::TokenRefused | Cause::FreshToken | Cause::TokenKey(_))
            && self.tokens < MAX_TOKENS
        {
            self.tokens += 1;
            if self.token.renew().await? {
                return Ok(());
            }
        }
        let deadline = self.deadline.saturating_add(self.pause.length());
        if matches!(cause, Cause::Elsewhere(_)) && self.runtime.clock.elapsed() < deadline {
            return Ok(());
        }
        if let Cause::TokenKey(why) = cause {
            return Err(why.into());
        }
        if matches!(cause, Cause::TokenRefused) {
            return Err(Error::TokenRefused(Whose::Vault));
        }
        if matches!(cause, Cause::NotAdmitted) {
            self.strangers += 1;
        }
        let wait = self.pauses.next();
        if self.strangers >= MAX_STRANGERS || self.runtime.clock.elapsed().saturating_add(wait) >= deadline {
            return Err(match cause {
                Cause::Chatd(why) => Error::ChatdUnreachable(why),
                Cause::Vault(why) => Error::VaultUnreachable(why),
                Cause::Disagree(why) => Error::RegionsDisagree(why),
                Cause::Wrong(w) => Error::RegionAnsweredWrongly(w),
                Cause::TokenRefused | Cause::FreshToken => Error::TokenRefused(Whose::Vault),
                Cause::TokenKey(why) => why.into(),
                Cause::NotAdmitted => Distrust::NotAdmitted.into(),
                Cause::Elsewhere(region) => {
                    Distrust::Region { region, why: Box::new(Distrust::NotAdmitted) }.into()
                }
                Cause::LastTry => Error::LastTryDeclined,
                Cause::NewerBundle => Error::VaultUnreachable("the fleet's documents keep changing".into()),
            });
        }
        self.runtime.clock.sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use bytes::Bytes;

    use super::*;
    use crate::runtime::{Random, TokioClock};
    use crate::transport::{Duplex, Transport, TransportError};

    struct Nowhere;

    #[async_trait]
    impl Transport for Nowhere {
        async fn open(&self) -> Result<Box<dyn Duplex>, TransportError> {
            Err(TransportError::TokenRefused)
        }
        async fn get(&self, _: &str) -> Result<Bytes, TransportError> {
            Err(TransportError::TokenRefused)
        }
    }

    struct Constant(u8);

    impl Random for Constant {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    fn pauses(random: u8, timing: &Timing) -> Vec<Duration> {
        let clock = Arc::new(TokioClock::default());
        let runtime = Runtime { transport: Arc::new(Nowhere), clock, random: Arc::new(Constant(random)) };
        let mut pauses = Pauses::new(&runtime, timing);
        (0..12).map(|_| pauses.next()).collect()
    }

    #[test]
    fn pauses_double_with_jitter_up_to_the_longest_and_a_seed_repeats_them() {
        let timing = Timing::default();
        for random in 0..=255 {
            let mut whole = timing.first_pause;
            for pause in pauses(random, &timing) {
                assert!((whole / 2..=whole).contains(&pause), "{pause:?} of {whole:?}");
                whole = (whole * 2).min(timing.longest_pause);
            }
        }
        assert_eq!(pauses(1, &timing), pauses(1, &timing));
        assert_ne!(pauses(1, &timing), pauses(2, &timing));
    }
}
