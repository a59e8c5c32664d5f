//! One caller's result. Worker and watcher may both have one for the same caller; the first counts.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::TokenError;

enum Sender<T> {
    Blocking(std::sync::mpsc::SyncSender<Result<T, TokenError>>),
    Waking(tokio::sync::oneshot::Sender<Result<T, TokenError>>),
}

/// One caller's place for one answer.
pub(super) struct Slot<T>(Mutex<Option<Sender<T>>>);

/// A slot, whatever its type of answer, can take an error.
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

    /// Delivers the result unless one was delivered. A caller that no longer waits is no error.
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
