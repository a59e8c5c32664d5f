//! A thread that owns one session and runs one job after the other until its generation ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use std::time::{Duration, Instant};

use super::{Ended, Job, Running, Shared, State, no_thread};
use crate::backend::Conn;
use crate::error::{GoneReason, TokenError};

/// Starts worker `id`. The caller has counted it in `inside` and counts it in `live`.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    id: u64,
    generation: u64,
    conn: Box<dyn Conn>,
) -> Result<(), TokenError> {
    let own = Arc::clone(shared);
    std::thread::Builder::new()
        .name(format!("token-{id}"))
        .spawn(move || work(&own, id, generation, conn))
        .map(drop)
        .map_err(|e| no_thread(shared, &e))
}

fn work(shared: &Shared, id: u64, generation: u64, mut conn: Box<dyn Conn>) {
    let mut state = shared.lock();
    let given_up = loop {
        if state.closed || state.generation != generation {
            break false;
        }
        let Some(job) = state.queue.pop_front() else {
            shared.jobs.wait(&mut state);
            continue;
        };
        let Job { op, submitted, deadline, run, reply } = job;
        state.running.insert(id, Running { op, submitted, deadline, generation, reply });
        drop(state);

        // The binding may panic on a module's result. Catch the panic, so that the thread is counted and its session ends like that of a lost token.
        let ended = catch_unwind(AssertUnwindSafe(|| run(conn.as_mut())));

        state = shared.lock();
        let Some(running) = state.running.remove(&id) else {
            // The watcher gave this thread up while the call hung. It has counted the call and answered the caller.
            break true;
        };
        let Ended { outcome, gone } = ended.unwrap_or_else(|_| {
            let error = TokenError::Gone {
                token: shared.config.token.clone(),
                reason: GoneReason::ModuleFailed,
                detail: Some(format!("panic in {}", op.name())),
            };
            running.reply.refuse(error.clone());
            Ended { outcome: error.outcome(), gone: Some(error) }
        });
        shared.counters.add(op, outcome, submitted.elapsed());
        if let Some(reason) = gone
            && state.generation == generation
        {
            let waiting = shared.lose(&mut state, reason.clone());
            drop(state);
            shared.refuse_all(waiting, &reason);
            state = shared.lock();
        }
    };
    drop(state);
    // Closing the session is a call and may hang too, so the thread counts as inside until it returns.
    drop(conn);
    let mut state = shared.lock();
    leave(&mut state, given_up);
    drop(state);
    shared.connect.notify_all();
    shared.changed.notify_all();
}

pub(super) fn leave(state: &mut State, given_up: bool) {
    state.inside = state.inside.saturating_sub(1);
    if given_up {
        state.stuck = state.stuck.saturating_sub(1);
    }
}

/// The time until `deadline`, or zero if it has passed.
pub(super) fn until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
