//! Runs changes of objects alone, because `SoftHSM` sometimes fails to generate a key while other threads of the process sign or search. Every wait
//! has a deadline, so if a call hangs, the other threads continue without the gate.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// The longest wait for other threads.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    inside: usize,
    closed: bool,
}

/// A thread that reads or signs.
pub(super) struct Pass<'a>(&'a Gate);

/// The thread that changes objects.
pub(super) struct Alone<'a>(&'a Gate);

impl Gate {
    pub(super) fn enter(&self) -> Pass<'_> {
        let mut state = self.wait(|state| state.closed);
        state.inside += 1;
        Pass(self)
    }

    /// Waits until no thread is inside and keeps others out. One caller at a time may call it.
    pub(super) fn close(&self) -> Alone<'_> {
        self.lock().closed = true;
        drop(self.wait(|state| state.inside > 0));
        Alone(self)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn wait(&self, busy: fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if busy(&state) {
            let until = Instant::now() + PATIENCE;
            while busy(&state) {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                self.changed.wait_for(&mut state, left);
            }
        }
        state
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.inside = state.inside.saturating_sub(1);
        if state.closed && state.inside == 0 {
            self.0.changed.notify_all();
        }
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.lock().closed = false;
        self.0.changed.notify_all();
    }
}
