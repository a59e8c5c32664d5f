//! The thread that opens sessions: at the start, for each session that the pool dropped, and with growing pauses while the token is gone. If an
//! opening hangs, the watcher starts another connector. The old connector ends when its call returns.

use std::sync::Arc;

use std::time::{Instant, SystemTime};

use backon::{BackoffBuilder as _, ExponentialBuilder};

use super::worker::{self, leave, until};
use super::{Connecting, Shared, no_thread};
use crate::counters::{Op, Outcome};
use crate::error::TokenError;
use crate::health::Health;

/// How often the first connection is tried if the module fails without a reason.
const TRIES_AT_START: u32 = 5;

pub(super) fn spawn(shared: &Arc<Shared>, id: u64) -> Result<(), TokenError> {
    let own = Arc::clone(shared);
    std::thread::Builder::new()
        .name(format!("token-connect-{id}"))
        .spawn(move || connect(&own, id))
        .map(drop)
        .map_err(|e| no_thread(shared, &e))
}

fn connect(shared: &Arc<Shared>, id: u64) {
    let config = &shared.config;
    let back_off = ExponentialBuilder::new()
        .with_min_delay(config.first_pause)
        .with_max_delay(config.longest_pause)
        .with_factor(2.0)
        .without_max_times();
    let mut pauses = back_off.build();
    let mut not_before = Instant::now();
    let mut failures = 0;
    // The last lost generation after which the module was restarted.
    let mut restarted = 0;
    let mut lost_at: Option<Instant> = None;
    let mut state = shared.lock();
    loop {
        if state.closed || state.connector != id {
            return;
        }
        let wanted = state.live < config.size && state.live + state.stuck < config.most_inside();
        if !wanted {
            shared.connect.wait(&mut state);
            continue;
        }
        let wait = until(not_before);
        if !wait.is_zero() {
            shared.connect.wait_for(&mut state, wait);
            continue;
        }
        // The token is lost. Wait until the old sessions are closed, so that the module can be restarted, but at most for one call's deadline.
        let lost = state.generation != restarted || (state.live == 0 && failures > 0);
        if lost && state.inside > 0 {
            let since = *lost_at.get_or_insert_with(Instant::now);
            let wait = until(since + config.call);
            if !wait.is_zero() {
                shared.connect.wait_for(&mut state, wait);
                continue;
            }
        }
        let alone = state.inside == 0;
        restarted = state.generation;
        lost_at = None;
        let generation = state.generation;
        let started = Instant::now();
        state.connecting = Some(Connecting { since: started });
        state.inside += 1;
        let wake_watcher = std::mem::take(&mut state.watcher_asleep);
        drop(state);
        if wake_watcher {
            shared.watch.notify_one();
        }

        if lost && alone {
            shared.backend.restart();
        }
        let opened = shared.backend.open();

        state = shared.lock();
        let given_up = state.connector != id;
        if given_up || state.closed {
            drop(state);
            drop(opened);
            leave(&mut shared.lock(), given_up);
            shared.changed.notify_all();
            shared.connect.notify_all();
            return;
        }
        state.connecting = None;
        let outcome = opened.as_ref().map_or_else(TokenError::outcome, |_| Outcome::Ok);
        shared.counters.add(Op::Connect, outcome, started.elapsed());
        let failed = match opened {
            Ok(conn) => {
                // The worker counts as inside in place of this thread.
                let worker = state.next_worker;
                state.next_worker += 1;
                worker::spawn(shared, worker, generation, conn).err()
            }
            Err(error) => Some(error),
        };
        // At start a failure without a reason is tried again a few times, since SoftHSM may fail while another process writes to its directory. Any
        // other failure, such as a wrong label, is reported at once.
        failures += 1;
        let passing = failed.as_ref().is_some_and(TokenError::is_gone) && failures < TRIES_AT_START;
        if let Some(reason) = failed {
            leave(&mut state, false);
            let pause = pauses.next().unwrap_or(config.longest_pause);
            not_before = Instant::now() + pause;
            tracing::warn!(token = config.token, %reason, ?pause, "the token cannot be connected");
            if state.live == 0 {
                let since = match &state.health {
                    Health::Down { since, .. } => *since,
                    Health::Up => SystemTime::now(),
                };
                state.health = Health::Down { reason, since };
            }
        } else {
            pauses = back_off.build();
            failures = 0;
            if generation == state.generation {
                state.live += 1;
                if !state.health.is_up() {
                    tracing::info!(token = config.token, "the token is connected");
                    state.health = Health::Up;
                }
            }
        }
        state.tried |= !passing;
        shared.changed.notify_all();
    }
}
