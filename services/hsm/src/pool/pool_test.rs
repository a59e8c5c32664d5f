//! The pool over a fake token that hangs, fails and works again as the test sets it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;

use bkv_fixtures::eventually;
use zeroize::Zeroizing;

use super::*;
use crate::capability::Capabilities;
use crate::ceremony::Ceremony;

/// What the fake token does now. The test sets it.
#[derive(Default)]
struct Script {
    /// Calls wait while this is true.
    hang: AtomicBool,
    hang_open: AtomicBool,
    gone: AtomicBool,
    /// How many further openings fail without a reason.
    failing_opens: AtomicUsize,
    opens: AtomicUsize,
    restarts: AtomicUsize,
    inside_at_restart: AtomicUsize,
    inside: AtomicUsize,
    calls: AtomicU64,
}

impl Script {
    fn wait_while(flag: &AtomicBool) {
        let until = Instant::now() + Duration::from_secs(20);
        while flag.load(Ordering::SeqCst) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn answer(&self) -> Result<(), TokenError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        Self::wait_while(&self.hang);
        if self.gone.load(Ordering::SeqCst) {
            return Err(TokenError::Gone { token: "fake".into(), reason: GoneReason::Removed, detail: None });
        }
        Ok(())
    }
}

struct Fake(Arc<Script>);
struct FakeConn(Arc<Script>);

impl Drop for FakeConn {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend for Fake {
    fn open(&self) -> Result<Box<dyn Conn>, TokenError> {
        self.0.opens.fetch_add(1, Ordering::SeqCst);
        Script::wait_while(&self.0.hang_open);
        if self.0.failing_opens.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
        {
            let reason = GoneReason::ModuleFailed;
            return Err(TokenError::Gone { token: "fake".into(), reason, detail: None });
        }
        if self.0.gone.load(Ordering::SeqCst) {
            return Err(TokenError::NoToken {
                token: "fake".into(),
                module: "/fake.so".into(),
                found: vec![],
                hint: "put it back".into(),
            });
        }
        self.0.inside.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FakeConn(Arc::clone(&self.0))))
    }

    fn restart(&self) {
        self.0.restarts.fetch_add(1, Ordering::SeqCst);
        self.0.inside_at_restart.fetch_max(self.0.inside.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

impl Conn for FakeConn {
    fn check(&mut self) -> Result<(), TokenError> {
        self.0.answer()
    }
    fn sign_identity(&mut self, _: &[u8; 32]) -> Result<Vec<u8>, TokenError> {
        self.0.answer().map(|()| vec![1])
    }
    fn identity_point(&mut self) -> Result<[u8; 65], TokenError> {
        self.0.answer().map(|()| [4; 65])
    }
    fn mask(&mut self, _: &[u8]) -> Result<Zeroizing<[u8; 64]>, TokenError> {
        self.0.answer().map(|()| Zeroizing::new([0; 64]))
    }
    fn epoch_mac(&mut self, _: u64, _: &[u8]) -> Result<Zeroizing<[u8; 32]>, TokenError> {
        self.0.answer().map(|()| Zeroizing::new([0; 32]))
    }
    fn provision(&mut self) -> Result<Ceremony, TokenError> {
        Err(TokenError::ChangeUnderWay { token: "fake".into() })
    }
    fn epoch_create(&mut self, _: u64) -> Result<bool, TokenError> {
        self.0.answer().map(|()| true)
    }
    fn epoch_destroy(&mut self, _: u64) -> Result<bool, TokenError> {
        self.0.answer().map(|()| true)
    }
    fn epochs(&mut self) -> Result<Vec<u64>, TokenError> {
        self.0.answer().map(|()| vec![])
    }
    fn anchor_put(&mut self, _: &[u8; 32]) -> Result<(), TokenError> {
        self.0.answer()
    }
    fn anchor_take(&mut self) -> Result<Option<[u8; 32]>, TokenError> {
        self.0.answer().map(|()| None)
    }
    fn probe(&mut self) -> Result<Capabilities, TokenError> {
        Err(TokenError::ChangeUnderWay { token: "fake".into() })
    }
}

fn config() -> PoolConfig {
    PoolConfig {
        token: "fake".into(),
        size: 2,
        queue: 8,
        // Long enough that a busy machine does not look like a hung token.
        call: Duration::from_millis(300),
        ceremony: Duration::from_millis(900),
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(40),
    }
}

fn pool(script: &Arc<Script>) -> Pool {
    Pool::start(Box::new(Fake(Arc::clone(script))), config()).unwrap()
}

fn check(pool: &Pool) -> Result<(), TokenError> {
    pool.call(Op::Check, |conn| conn.check())
}

fn count(pool: &Pool, op: Op, outcome: Outcome) -> u64 {
    pool.counters().snapshot().iter().find(|c| c.op == op && c.outcome == outcome).map_or(0, |c| c.count)
}

/// S27: a call that hangs is refused with a reason at the deadline, and its session is replaced.
#[test]
fn s27_a_hung_call_is_named_and_its_session_replaced() {
    let script = Arc::new(Script::default());
    let pool = pool(&script);
    check(&pool).unwrap();
    script.hang.store(true, Ordering::SeqCst);
    let start = Instant::now();
    let error = check(&pool).unwrap_err();
    assert_eq!(error, TokenError::Hung { token: "fake".into(), op: Op::Check, after: config().call });
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(error.to_string(), "token \"fake\" did not answer check within 300ms");
    script.hang.store(false, Ordering::SeqCst);
    eventually("a session works again", || check(&pool).is_ok());
    assert_eq!(count(&pool, Op::Check, Outcome::Hung), 1);
    eventually("the stuck thread is back", || pool.0.lock().stuck == 0);
    assert!(pool.close());
    assert_eq!(script.inside.load(Ordering::SeqCst), 0);
}

#[test]
fn a_token_that_swallows_every_thread_is_down_and_the_threads_are_bounded() {
    let script = Arc::new(Script::default());
    let pool = pool(&script);
    script.hang.store(true, Ordering::SeqCst);
    let until = Instant::now() + Duration::from_secs(20);
    while pool.health().is_up() && Instant::now() < until {
        let _ = check(&pool);
    }
    let Health::Down { reason, .. } = pool.health() else { panic!("still up") };
    assert!(matches!(reason, TokenError::Gone { reason: GoneReason::NoAnswer, .. }), "{reason}");
    assert!(script.calls.load(Ordering::SeqCst) <= config().most_inside() as u64);
    // The pool refuses at once now: a call that waited for its deadline would be `Hung`, and one that reached a session would be counted.
    let calls = script.calls.load(Ordering::SeqCst);
    for _ in 0..100 {
        assert!(matches!(check(&pool), Err(TokenError::Gone { .. })));
    }
    assert_eq!(script.calls.load(Ordering::SeqCst), calls);
    script.hang.store(false, Ordering::SeqCst);
    eventually("up again", || check(&pool).is_ok());
    assert!(pool.close());
}

/// S27: the pool names a dead token, refuses every call at once, and reconnects when the token works again.
#[test]
fn s27_a_dead_token_is_named_and_reconnected() {
    let script = Arc::new(Script::default());
    let pool = pool(&script);
    script.gone.store(true, Ordering::SeqCst);
    let error = check(&pool).unwrap_err();
    assert!(matches!(error, TokenError::Gone { reason: GoneReason::Removed, .. }), "{error}");
    eventually("the refused reconnection is the reason", || {
        matches!(pool.health(), Health::Down { reason: TokenError::NoToken { .. }, .. })
    });
    let Err(TokenError::Gone { reason: GoneReason::NotConnected, detail: Some(detail), .. }) = check(&pool)
    else {
        panic!("a dead token serves");
    };
    assert!(detail.contains("put it back"), "{detail}");
    script.gone.store(false, Ordering::SeqCst);
    eventually("up again", || pool.health().is_up());
    check(&pool).unwrap();
    assert!(script.restarts.load(Ordering::SeqCst) >= 1);
    // A module crashes if it is finalised while a thread is inside it.
    assert_eq!(script.inside_at_restart.load(Ordering::SeqCst), 0);
}

#[test]
fn pauses_between_connections_grow() {
    let script = Arc::new(Script::default());
    let pool = pool(&script);
    eventually("both sessions", || script.opens.load(Ordering::SeqCst) == 2);
    // Before the loss: a busy machine may run the first tries before `check` returns.
    let start = Instant::now();
    script.gone.store(true, Ordering::SeqCst);
    let _ = check(&pool);
    eventually("some attempts", || script.opens.load(Ordering::SeqCst) >= 2 + 8);
    // Eight openings have at least 5 + 10 + 20 + 4 × 40 ms of pauses between them.
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
}

#[test]
fn too_many_waiting_are_refused_at_once() {
    let script = Arc::new(Script::default());
    let mut slow = config();
    slow.call = Duration::from_secs(10);
    let pool = Arc::new(Pool::start(Box::new(Fake(Arc::clone(&script))), slow).unwrap());
    script.hang.store(true, Ordering::SeqCst);
    let (sender, results) = mpsc::channel();
    let caller = || {
        let (pool, sender) = (Arc::clone(&pool), sender.clone());
        std::thread::spawn(move || sender.send(check(&pool)).unwrap())
    };
    let mut callers = vec![caller(), caller()];
    eventually("both sessions are busy", || pool.0.lock().running.len() == 2);
    callers.extend((0..8).map(|_| caller()));
    eventually("the queue is full", || pool.0.lock().queue.len() == 8);
    let error = check(&pool).unwrap_err();
    assert_eq!(error, TokenError::Busy { token: "fake".into(), op: Op::Check, waiting: 8 });
    script.hang.store(false, Ordering::SeqCst);
    for caller in callers {
        caller.join().unwrap();
    }
    drop(sender);
    assert!(results.iter().all(|r| r.is_ok()));
}

#[test]
fn a_connection_that_hangs_at_start_is_an_error() {
    let script = Arc::new(Script::default());
    script.hang_open.store(true, Ordering::SeqCst);
    let start = Instant::now();
    let Err(error) = Pool::start(Box::new(Fake(Arc::clone(&script))), config()) else { panic!("started") };
    assert!(matches!(error, TokenError::Hung { op: Op::Connect, .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
    script.hang_open.store(false, Ordering::SeqCst);
    eventually("nothing is left inside", || script.inside.load(Ordering::SeqCst) == 0);
}

#[test]
fn async_callers_get_the_same_answers() {
    let script = Arc::new(Script::default());
    let pool = pool(&script);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        pool.call_async(Op::Check, |conn| conn.check()).await.unwrap();
        script.hang.store(true, Ordering::SeqCst);
        let error = pool.call_async(Op::Check, |conn| conn.check()).await.unwrap_err();
        assert!(matches!(error, TokenError::Hung { .. }), "{error}");
    });
    script.hang.store(false, Ordering::SeqCst);
}

#[test]
fn a_closed_pool_refuses_and_leaves_no_session() {
    let script = Arc::new(Script::default());
    let pool = pool(&script);
    assert!(pool.close());
    assert_eq!(check(&pool), Err(TokenError::Closed { token: "fake".into() }));
    assert_eq!(script.inside.load(Ordering::SeqCst), 0);
}

#[test]
fn many_threads_get_each_their_own_answer() {
    let script = Arc::new(Script::default());
    let mut wide = config();
    wide.call = Duration::from_secs(10);
    let pool = Arc::new(Pool::start(Box::new(Fake(Arc::clone(&script))), wide).unwrap());
    let callers: Vec<_> = (0..8u64)
        .map(|thread| {
            let pool = Arc::clone(&pool);
            std::thread::spawn(move || {
                for i in 0..500u64 {
                    let expected = thread << 32 | i;
                    let got = pool.call(Op::Check, move |conn| conn.check().map(|()| expected)).unwrap();
                    assert_eq!(got, expected);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().unwrap();
    }
    // The pool answers the caller before it counts the call.
    eventually("all are counted", || count(&pool, Op::Check, Outcome::Ok) == 4_000);
}

#[test]
fn a_panic_over_an_answer_is_an_error_and_the_session_is_replaced() {
    let script = Arc::new(Script::default());
    let mut slow = config();
    // Printing the panic's backtrace takes time.
    slow.call = Duration::from_secs(10);
    let pool = Pool::start(Box::new(Fake(Arc::clone(&script))), slow).unwrap();
    let error =
        pool.call(Op::Check, |_| -> Result<(), TokenError> { panic!("an answer out of range") }).unwrap_err();
    assert!(matches!(error, TokenError::Gone { reason: GoneReason::ModuleFailed, .. }), "{error}");
    eventually("it serves again", || check(&pool).is_ok());
    assert!(pool.close());
    assert_eq!(script.inside.load(Ordering::SeqCst), 0);
}

#[test]
fn a_module_that_fails_without_a_reason_at_start_gets_a_few_tries() {
    let script = Arc::new(Script::default());
    script.failing_opens.store(4, Ordering::SeqCst);
    check(&pool(&script)).unwrap();
    script.failing_opens.store(100, Ordering::SeqCst);
    let Err(error) = Pool::start(Box::new(Fake(Arc::clone(&script))), config()) else { panic!("started") };
    assert!(matches!(error, TokenError::Gone { reason: GoneReason::ModuleFailed, .. }), "{error}");
    // A missing token is reported at the first try.
    let script = Arc::new(Script::default());
    script.gone.store(true, Ordering::SeqCst);
    let Err(error) = Pool::start(Box::new(Fake(Arc::clone(&script))), config()) else { panic!("started") };
    assert!(matches!(error, TokenError::NoToken { .. }), "{error}");
}
