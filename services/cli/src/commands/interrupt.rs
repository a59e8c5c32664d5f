//! Ctrl-C during a long command.

use std::sync::Arc;

use bkv_stream::Cancel;
use tokio::signal::unix::{SignalKind, signal};

/// Cancels the work at SIGINT or SIGTERM. It ends at its next step and removes its half file.
pub(crate) fn cancel_on_interrupt() -> Arc<Cancel> {
    let cancel = Arc::new(Cancel::default());
    let flag = cancel.clone();
    // Register before the task runs: a signal that arrives in between must not kill the process and leave a half file on the disk.
    let (int, term) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    if let (Ok(mut int), Ok(mut term)) = (int, term) {
        tokio::spawn(async move {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
            }
            flag.cancel();
        });
    }
    cancel
}
