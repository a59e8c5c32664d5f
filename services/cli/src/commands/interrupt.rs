//! Ctrl-C during a long command.

use bkv_stream::Cancel;
use tokio::task::spawn_blocking;

use crate::exit::{Exit, Failure, Outcome};
use crate::signals::{Handled, Signals};

/// Runs `work` on a thread of its own and awaits it. A signal sets the flag: the work ends at its next step and removes its incomplete file.
pub(crate) async fn cancellable<T: Send + 'static>(
    work: impl FnOnce(&Cancel) -> T + Send + 'static,
) -> Outcome<T> {
    // Register before the work begins: a signal that arrives in between must not kill the process and leave an incomplete file on the disk.
    let handled = Handled::new();
    let mut signals = Signals::new();
    let cancel = Cancel::default();
    let flag = cancel.clone();
    let mut work = spawn_blocking(move || work(&flag));
    let ended = tokio::select! {
        ended = &mut work => ended,
        () = signals.received() => {
            handled.for_good();
            cancel.cancel();
            work.await
        }
    };
    ended.map_err(|e| Failure::new(Exit::Unexpected, e.to_string()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_signal_cancels_the_work_and_its_result_is_awaited() {
        let _one = crate::signals::SIGNALLING.lock().await;
        for by in [Signal::INT, Signal::TERM] {
            let cancelled = cancellable(move |cancel| {
                kill_process(getpid(), by).unwrap();
                let until = Instant::now() + Duration::from_secs(10);
                while !cancel.is_cancelled() && Instant::now() < until {
                    std::thread::yield_now();
                }
                cancel.is_cancelled()
            });
            assert!(cancelled.await.unwrap(), "{by:?}");
        }
        assert!(!cancellable(Cancel::is_cancelled).await.unwrap());
    }
}
