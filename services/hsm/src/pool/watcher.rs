//! The thread that enforces deadlines: it refuses callers whose call hangs and drops the thread of that call. It never calls the module, so nothing
//! can delay it. With nothing to watch it sleeps.

use std::sync::Arc;

use std::time::{Duration, Instant, SystemTime};

use super::worker::until;
use super::{Shared, State, connector, no_thread};
use crate::counters::{Op, Outcome};
use crate::error::{GoneReason, TokenError};
use crate::health::Health;

pub(super) fn spawn(shared: &Arc<Shared>) -> Result<(), TokenError> {
    let own = Arc::clone(shared);
    std::thread::Builder::new()
        .name("token-watch".to_owned())
        .spawn(move || watch(&own))
        .map(drop)
        .map_err(|e| no_thread(shared, &e))
}

fn watch(shared: &Arc<Shared>) {
    // A new call may have an earlier deadline than the known calls, so look again within this time.
    let longest = (shared.config.call / 8).clamp(Duration::from_millis(1), Duration::from_millis(250));
    let mut state = shared.lock();
    while !state.closed {
        if state.running.is_empty() && state.queue.is_empty() && state.connecting.is_none() {
            state.watcher_asleep = true;
            shared.watch.wait(&mut state);
            state.watcher_asleep = false;
            continue;
        }
        let first = earliest(shared, &state);
        let pause = until(first).min(longest).max(Duration::from_millis(1));
        shared.watch.wait_for(&mut state, pause);
        let now = Instant::now();
        give_up_calls(shared, &mut state, now);
        give_up_connector(shared, &mut state, now);
    }
}

fn earliest(shared: &Shared, state: &State) -> Instant {
    let running = state.running.values().map(|r| r.deadline);
    // Ceremonies have longer deadlines, so the head of the queue may not have the earliest deadline. The head is enough, because the pause is
    // bounded.
    let waiting = state.queue.front().map(|job| job.deadline);
    let connecting = state.connecting.as_ref().map(|c| c.since + shared.config.ceremony);
    running.chain(waiting).chain(connecting).min().unwrap_or_else(Instant::now)
}

fn give_up_calls(shared: &Shared, state: &mut State, now: Instant) {
    let token = &shared.config.token;
    let hung: Vec<u64> = state.running.iter().filter(|(_, r)| r.deadline <= now).map(|(id, _)| *id).collect();
    for id in hung {
        let Some(running) = state.running.remove(&id) else { continue };
        state.stuck += 1;
        if running.generation == state.generation {
            state.live = state.live.saturating_sub(1);
        }
        let error = TokenError::Hung {
            token: token.clone(),
            op: running.op,
            after: shared.config.deadline(running.op),
        };
        tracing::warn!(
            token,
            op = running.op.name(),
            stuck = state.stuck,
            "a call into the token hangs, its session is given up"
        );
        shared.counters.add(running.op, Outcome::Hung, running.submitted.elapsed());
        running.reply.refuse(error);
        shared.connect.notify_all();
    }
    // Refuse the waiting jobs whose deadline passed before a session was free.
    while let Some(job) = state.queue.front().filter(|job| job.deadline <= now).map(|job| job.op) {
        if let Some(expired) = state.queue.pop_front() {
            let after = shared.config.deadline(job);
            shared.refuse_all([expired], &TokenError::Hung { token: token.clone(), op: job, after });
        }
    }
    if state.live == 0 && state.health.is_up() {
        let reason = TokenError::Gone { token: token.clone(), reason: GoneReason::NoAnswer, detail: None };
        state.health = Health::Down { reason: reason.clone(), since: SystemTime::now() };
        let waiting = std::mem::take(&mut state.queue);
        shared.refuse_all(waiting, &reason);
    }
}

fn give_up_connector(shared: &Arc<Shared>, state: &mut State, now: Instant) {
    let Some(connecting) = &state.connecting else { return };
    let after = shared.config.ceremony;
    if connecting.since + after > now {
        return;
    }
    state.connecting = None;
    state.stuck += 1;
    state.connector += 1;
    shared.counters.add(Op::Connect, Outcome::Hung, after);
    if state.live == 0 {
        let reason = TokenError::Hung { token: shared.config.token.clone(), op: Op::Connect, after };
        state.health = Health::Down { reason, since: SystemTime::now() };
    }
    state.tried = true;
    shared.changed.notify_all();
    if let Err(error) = connector::spawn(shared, state.connector) {
        tracing::error!(token = shared.config.token, %error, "the token stays down: no connector can be started");
    }
}
