//! A vault's own clock: the machine's clock with an offset that a test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bkv_vault::env::{Clock, SystemClock};

#[derive(Clone, Default)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub fn offset(&self, ms: i64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms().saturating_add_signed(self.0.load(Ordering::SeqCst))
    }
}
