//! Operating-system threads that each own one session, and the queue that feeds them. A call into a module can't be interrupted. If it hangs, the pool
//! counts its thread against a bound and replaces it. A session that reports the token gone ends its whole generation; the connector then opens a new
//! one.

mod connector;
mod reply;
mod watcher;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::backend::{Backend, Conn};
use crate::counters::{Counters, Op, Outcome};
use crate::error::{GoneReason, TokenError};
use crate::health::Health;
use reply::{Refuse, Slot};

/// Sizes and deadlines of a pool.
#[derive(Clone, Debug)]
pub(crate) struct PoolConfig {
    /// The token's label, for messages.
    pub(crate) token: String,
    pub(crate) size: usize,
    pub(crate) queue: usize,
    pub(crate) call: Duration,
    pub(crate) ceremony: Duration,
    /// The pause after the first failed connection. Each further failure doubles it, up to `longest_pause`.
    pub(crate) first_pause: Duration,
    pub(crate) longest_pause: Duration,
}

impl PoolConfig {
    fn deadline(&self, op: Op) -> Duration {
        match op {
            Op::Provision | Op::EpochCreate | Op::EpochDestroy | Op::Probe | Op::Connect => self.ceremony,
            _ => self.call,
        }
    }

    /// Threads that may be in the module at once, stuck ones included. Beyond this no thread is replaced: a module that hangs every thread would
    /// otherwise exhaust the process.
    const fn most_inside(&self) -> usize {
        2 * self.size + 2
    }
}

/// Handle of the pool. Dropping it ends the threads and waits for them, at most one call's deadline.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    backend: Box<dyn Backend>,
    config: PoolConfig,
    counters: Counters,
    state: Mutex<State>,
    /// Workers wait here for jobs.
    jobs: Condvar,
    /// The connector waits here for something to connect.
    connect: Condvar,
    /// The watcher waits here for something to watch.
    watch: Condvar,
    /// Callers that wait for the first connection or for the end of the threads wait here.
    changed: Condvar,
}

struct State {
    queue: VecDeque<Job>,
    /// The call that each worker runs now, by the worker's number.
    running: BTreeMap<u64, Running>,
    /// Rises when the token is lost. Workers of an older generation end.
    generation: u64,
    /// The number of workers of this generation.
    live: usize,
    /// The number of worker and connector threads that may be inside the module, stuck threads included.
    inside: usize,
    /// The number of stuck threads: the watcher gave them up, and their call has not returned.
    stuck: usize,
    next_worker: u64,
    connecting: Option<Connecting>,
    /// The number of the current connector thread. An older one ends when its call returns.
    connector: u64,
    watcher_asleep: bool,
    /// Whether the first connection has succeeded or failed.
    tried: bool,
    health: Health,
    closed: bool,
}

struct Connecting {
    since: Instant,
}

struct Running {
    op: Op,
    submitted: Instant,
    deadline: Instant,
    generation: u64,
    reply: Arc<dyn Refuse>,
}

type Run = Box<dyn FnOnce(&mut dyn Conn) -> Ended + Send>;

struct Job {
    op: Op,
    submitted: Instant,
    deadline: Instant,
    run: Run,
    reply: Arc<dyn Refuse>,
}

/// How a job ended, for the worker. The caller already has its result.
struct Ended {
    outcome: Outcome,
    /// The whole error if the token is gone. The other callers get it as well.
    gone: Option<TokenError>,
}

impl Pool {
    /// Starts the threads and waits for the first connection or its failure.
    pub(crate) fn start(backend: Box<dyn Backend>, config: PoolConfig) -> Result<Self, TokenError> {
        let token = config.token.clone();
        let gone = not_connected(&token);
        let shared = Arc::new(Shared {
            backend,
            config,
            counters: Counters::default(),
            state: Mutex::new(State {
                queue: VecDeque::new(),
                running: BTreeMap::new(),
                generation: 0,
                live: 0,
                inside: 0,
                stuck: 0,
                next_worker: 0,
                connecting: None,
                connector: 0,
                watcher_asleep: false,
                tried: false,
                health: Health::Down { reason: gone, since: SystemTime::now() },
                closed: false,
            }),
            jobs: Condvar::new(),
            connect: Condvar::new(),
            watch: Condvar::new(),
            changed: Condvar::new(),
        });
        // From here on a failure drops `pool`, and the drop ends the started threads.
        let pool = Self(shared);
        watcher::spawn(&pool.0)?;
        connector::spawn(&pool.0, 0)?;
        let mut state = pool.0.lock();
        while !state.tried {
            pool.0.changed.wait(&mut state);
        }
        let health = state.health.clone();
        drop(state);
        match health {
            Health::Up => Ok(pool),
            Health::Down { reason, .. } => Err(reason),
        }
    }

    /// Runs `f` on a session. Returns when `f` ends or the deadline passes. Blocks the thread.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        op: Op,
        f: impl FnOnce(&mut dyn Conn) -> Result<T, TokenError> + Send + 'static,
    ) -> Result<T, TokenError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.submit(op, Slot::blocking(sender), f);
        // The watcher answers at the deadline. The margin covers a machine that is too busy to run the watcher.
        let after = self.0.config.deadline(op);
        receiver
            .recv_timeout(after + after / 2 + Duration::from_secs(1))
            .unwrap_or_else(|_| Err(TokenError::Hung { token: self.0.config.token.clone(), op, after }))
    }

    /// As [`Pool::call`], for a caller in any async runtime.
    pub(crate) async fn call_async<T: Send + 'static>(
        &self,
        op: Op,
        f: impl FnOnce(&mut dyn Conn) -> Result<T, TokenError> + Send + 'static,
    ) -> Result<T, TokenError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.submit(op, Slot::waking(sender), f);
        receiver.await.unwrap_or_else(|_| Err(TokenError::Closed { token: self.0.config.token.clone() }))
    }

    pub(crate) fn health(&self) -> Health {
        self.0.lock().health.clone()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Ends the threads and waits for them, at most one call's deadline. Returns true if all have ended.
    pub(crate) fn close(&self) -> bool {
        self.0.close();
        let until = Instant::now() + self.0.config.call;
        let mut state = self.0.lock();
        while state.inside > 0 {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return false };
            self.0.changed.wait_for(&mut state, left);
        }
        true
    }

    fn submit<T: Send + 'static>(
        &self,
        op: Op,
        slot: Arc<Slot<T>>,
        f: impl FnOnce(&mut dyn Conn) -> Result<T, TokenError> + Send + 'static,
    ) {
        let shared = &self.0;
        let submitted = Instant::now();
        let deadline = submitted + shared.config.deadline(op);
        let mut state = shared.lock();
        let refused = if state.closed {
            Some(TokenError::Closed { token: shared.config.token.clone() })
        } else if let Health::Down { reason, .. } = &state.health {
            // Refuse at once: a caller that waits for a dead token would delay all callers behind it.
            Some(shared.gone_because(reason))
        } else if state.queue.len() >= shared.config.queue {
            let waiting = state.queue.len();
            Some(TokenError::Busy { token: shared.config.token.clone(), op, waiting })
        } else {
            None
        };
        if let Some(error) = refused {
            drop(state);
            shared.counters.add(op, error.outcome(), submitted.elapsed());
            slot.refuse(error);
            return;
        }
        let reply: Arc<dyn Refuse> = slot.clone();
        let run: Run = Box::new(move |conn| {
            let result = f(conn);
            let ended = match &result {
                Ok(_) => Ended { outcome: Outcome::Ok, gone: None },
                Err(e) => Ended { outcome: e.outcome(), gone: e.is_gone().then(|| e.clone()) },
            };
            slot.answer(result);
            ended
        });
        state.queue.push_back(Job { op, submitted, deadline, run, reply });
        let wake_watcher = std::mem::take(&mut state.watcher_asleep);
        drop(state);
        shared.jobs.notify_one();
        if wake_watcher {
            shared.watch.notify_one();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Wait for the threads: if the process ended while one is inside the module, the module's clean-up would crash.
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock, so the state is always whole.
        self.state.lock()
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        for job in queue {
            job.reply.refuse(TokenError::Closed { token: self.config.token.clone() });
        }
        self.jobs.notify_all();
        self.connect.notify_all();
        self.watch.notify_all();
        self.changed.notify_all();
    }

    /// Ends all sessions of a lost token and wakes the connector. The caller holds the lock, releases it, and then refuses the returned jobs.
    fn lose(&self, state: &mut State, reason: TokenError) -> VecDeque<Job> {
        tracing::error!(token = self.config.token, %reason, "token lost");
        state.generation += 1;
        state.live = 0;
        state.health = Health::Down { reason, since: SystemTime::now() };
        self.jobs.notify_all();
        self.connect.notify_all();
        std::mem::take(&mut state.queue)
    }

    fn refuse_all(&self, jobs: impl IntoIterator<Item = Job>, error: &TokenError) {
        for job in jobs {
            self.counters.add(job.op, error.outcome(), job.submitted.elapsed());
            job.reply.refuse(error.clone());
        }
    }

    /// The error for a caller while the token is down for this reason.
    fn gone_because(&self, reason: &TokenError) -> TokenError {
        match reason {
            TokenError::Gone { .. } => reason.clone(),
            other => TokenError::Gone {
                token: self.config.token.clone(),
                reason: GoneReason::NotConnected,
                detail: Some(other.to_string()),
            },
        }
    }
}

fn not_connected(token: &str) -> TokenError {
    TokenError::Gone { token: token.to_owned(), reason: GoneReason::NotConnected, detail: None }
}

fn no_thread(shared: &Shared, error: &std::io::Error) -> TokenError {
    TokenError::NoThread { token: shared.config.token.clone(), why: error.to_string() }
}

#[cfg(test)]
#[path = "pool_test.rs"]
mod tests;
