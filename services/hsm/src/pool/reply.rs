//! One caller's result. The worker and the watcher may both have a result for the same caller. The caller gets the first one.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::TokenError;

enum Sender<T> {
    Blocking(std::sync::mpsc::SyncSender<Result<T, TokenError>>),
    Waking(tokio::sync::oneshot::Sender<Result<T, TokenError>>),
}

/// Where one caller waits for its result.
pub(super) struct Slot<T>(Mutex<Option<Sender<T>>>);

/// Delivers an error to a slot of any type.
pub(super) trait Refuse: Send + Sync {
    fn refuse(&self, error: TokenError);
}

impl<T: Send> Slot<T> {
    pub(super) fn blocking(sender: std::sync::mpsc::SyncSender<Result<T, TokenError>>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(Sender::Blocking(sender)))))
    }

    pub(super) fn waking(sender: tokio::sync::oneshot::Sender<Result<T, TokenError>>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(Sender::Waking(sender)))))
    }

    /// Delivers the result if none was delivered. Does nothing if the caller no longer waits.
    pub(super) fn answer(&self, result: Result<T, TokenError>) {
        let sender = self.0.lock().take();
        match sender {
            Some(Sender::Blocking(sender)) => drop(sender.try_send(result)),
            Some(Sender::Waking(sender)) => drop(sender.send(result)),
            None => {}
        }
    }
}

impl<T: Send> Refuse for Slot<T> {
    fn refuse(&self, error: TokenError) {
        self.answer(Err(error));
    }
}
