//! Repeats an operation until it succeeds or its deadline passes. A repetition has the same ids, so it never costs a try.

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::error::Error;
use crate::fault::{Cause, Fault};
use crate::runtime::Runtime;
use crate::timing::Timing;

/// How often the client installs newer documents without a pause.
const MAX_BUNDLES: u8 = 3;

/// Back-off with jitter until a deadline.
pub(crate) struct Retry<'a> {
    runtime: &'a Runtime,
    timing: &'a Timing,
    deadline: Duration,
    delay: Duration,
    bundles: u8,
}

impl<'a> Retry<'a> {
    pub(crate) fn new(runtime: &'a Runtime, timing: &'a Timing) -> Self {
        let deadline = runtime.clock.elapsed().saturating_add(timing.deadline);
        Self { runtime, timing, deadline, delay: timing.first_pause, bundles: 0 }
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
        let half = self.delay / 2;
        let jitter = half * (u32::from_le_bytes(self.runtime.bytes()) % 1024) / 1024;
        let wait = half + jitter;
        if self.runtime.clock.elapsed().saturating_add(wait) >= self.deadline {
            return Err(match cause {
                Cause::Chatd(why) => Error::ChatdUnreachable(why),
                Cause::Vault(why) => Error::VaultUnreachable(why),
                Cause::Wrong(w) => Error::RegionAnsweredWrongly(w),
                Cause::NewerBundle => Error::VaultUnreachable("the fleet's documents keep changing".into()),
            });
        }
        self.runtime.clock.sleep(wait).await;
        self.delay = (self.delay * 2).min(self.timing.longest_pause);
        Ok(())
    }
}
