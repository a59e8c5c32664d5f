//! A fleet in memory: three regions with real keys, cryptography and account rules that share one applied state (no Raft), behind the SDK's own
//! traits.
//! Every request that a vault decrypts is kept, so that a test can check what left the client. Faults are knobs of [`State`].

mod evaluation;
pub mod keys;
mod requests;
mod shard;
pub mod state;
mod transport;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bkv_client::{
    Client, Clock, Error, Fleet, OsRandom, Runtime, SoftwareTokenKey, Time, Timing, Tokens, VolatileMemory,
    Zeroizing,
};

pub use evaluation::Lie;
pub use state::{Cut, Refuses, State};

/// Time that advances only when a task sleeps.
pub struct VirtualClock {
    start: u64,
    passed: AtomicU64,
}

impl VirtualClock {
    pub fn at(start: u64) -> Arc<Self> {
        Arc::new(Self { start, passed: AtomicU64::new(0) })
    }

    /// Advances it.
    pub fn pass(&self, time: Duration) {
        self.passed.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Time {
        Time(self.start + self.passed.load(Ordering::SeqCst))
    }
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.passed.load(Ordering::SeqCst))
    }
    async fn sleep(&self, time: Duration) {
        tokio::task::yield_now().await; // tasks that need no time run first
        self.pass(time);
    }
}

struct Source(&'static [&'static str]);

#[async_trait]
impl Tokens for Source {
    async fn token(&self, refused: Option<&str>) -> Result<Zeroizing<String>, Error> {
        let next = refused.and_then(|r| self.0.iter().position(|t| *t == r)).map_or(0, |i| i + 1);
        Ok(Zeroizing::new(self.0[next.min(self.0.len() - 1)].to_owned()))
    }
}

#[derive(Clone)]
pub struct MemoryFleet(Arc<Mutex<State>>);

impl MemoryFleet {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State::new())))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn documents(&self) -> (bkv_client::Admission, bkv_client::Policy) {
        let state = self.state();
        (state.admission().clone(), state.policy().clone())
    }

    pub fn fleet(&self) -> Arc<Fleet> {
        Arc::new(Fleet::new(keys::root(1), VolatileMemory::default()))
    }

    pub fn runtime_at(&self, start: u64) -> Runtime {
        self.runtime_with(VirtualClock::at(start))
    }

    pub fn runtime_with(&self, clock: Arc<VirtualClock>) -> Runtime {
        Runtime { transport: Arc::new(transport::Wire(self.clone())), clock, random: Arc::new(OsRandom) }
    }

    pub fn runtime(&self) -> Runtime {
        self.runtime_at(keys::START)
    }

    pub fn client_with(&self, fleet: Arc<Fleet>) -> Client {
        Client::new(fleet, self.runtime(), Zeroizing::new(state::TOKEN.into()))
    }

    pub fn client(&self) -> Client {
        self.client_of(state::TOKEN)
    }

    /// A client that gets these tokens one after the other, and the last one again and again.
    pub fn client_with_tokens(&self, tokens: &'static [&'static str]) -> Client {
        Client::with_tokens(self.fleet(), self.runtime(), Arc::new(Source(tokens)))
            .with_timing(Timing { deadline: Duration::from_secs(60), ..Timing::default() })
    }

    /// A client whose token is bound to its key. These vaults do not check the proofs.
    pub fn bound_client(&self) -> Client {
        let key = SoftwareTokenKey::from_pem(state::TOKEN_KEY).unwrap();
        self.client_of(state::BOUND).with_token_key(Arc::new(key))
    }

    pub fn client_of(&self, token: &str) -> Client {
        Client::new(self.fleet(), self.runtime(), Zeroizing::new(token.into()))
            .with_timing(Timing { deadline: Duration::from_secs(60), ..Timing::default() })
    }
}
