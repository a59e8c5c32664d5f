//! Confirms this vault's leadership once for all readers that wait at the same moment: each confirmation costs a message to every other vault.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;
use tokio::time::{Duration, sleep};

use super::proposal::ProposeError;

/// A confirmation for this many readers shows that many clients are waiting, so the next one gathers for a moment first. Otherwise a reader waits only once,
/// behind such a confirmation.
const BUSY: u64 = 2;
const GATHER: Duration = Duration::from_millis(2);

/// The index up to which a reader must have applied the log.
type Confirmed = Result<u64, ProposeError>;

/// The confirmations of one shard.
#[derive(Default)]
pub(crate) struct Confirmations {
    /// How many readers have come.
    readers: AtomicU64,
    /// Held while a confirmation is under way.
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    /// How many readers had come when the last confirmation began.
    readers: u64,
    /// How many of them it was for.
    shared: u64,
    result: Option<Confirmed>,
}

impl Confirmations {
    /// The result of a confirmation that began after this call did. An older one would not do: another vault may have been elected, and have applied changes, since.
    /// `confirm` must not wait for the entries to be applied, because the next readers wait for it.
    pub(super) async fn share<F>(&self, confirm: impl FnOnce() -> F) -> Confirmed
    where
        F: Future<Output = Confirmed>,
    {
        let me = self.readers.fetch_add(1, Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if let Some(result) = last.result.as_ref().filter(|_| me < last.readers) {
            return result.clone();
        }
        if last.shared >= BUSY {
            sleep(GATHER).await;
        }
        let readers = self.readers.load(Ordering::SeqCst);
        let result = confirm().await;
        *last = Last { readers, shared: readers.saturating_sub(last.readers), result: Some(result.clone()) };
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;

    /// A confirmation that is under way when a reader comes may have begun before a newer leader's change. So that reader needs the next one, and
    /// shares it with all who came meanwhile.
    #[tokio::test]
    async fn readers_share_a_confirmation_that_began_after_they_came() {
        let shared = Arc::new(Confirmations::default());
        let (asked, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let read = || {
            let (shared, asked, go) = (shared.clone(), asked.clone(), go.clone());
            tokio::spawn(async move {
                shared
                    .share(|| async {
                        let number = asked.fetch_add(1, Ordering::SeqCst);
                        go.notified().await;
                        if number == 1 { Err(ProposeError::NotLeader(None)) } else { Ok(7) }
                    })
                    .await
            })
        };
        let first = read();
        while asked.load(Ordering::SeqCst) < 1 {
            tokio::task::yield_now().await;
        }
        let later: Vec<_> = (0..9).map(|_| read()).collect();
        while shared.readers.load(Ordering::SeqCst) < 10 {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        assert_eq!(first.await.unwrap(), Ok(7));
        go.notify_one();
        for reader in later {
            assert_eq!(reader.await.unwrap(), Err(ProposeError::NotLeader(None)));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        // Who comes after it asks anew.
        go.notify_one();
        assert_eq!(read().await.unwrap(), Ok(7));
    }

    /// A reader whose client is gone leaves the others to confirm for themselves.
    #[tokio::test]
    async fn a_reader_that_is_gone_answers_nobody() {
        let shared = Arc::new(Confirmations::default());
        let gone = tokio::spawn({
            let shared = shared.clone();
            async move { shared.share(std::future::pending).await }
        });
        while shared.last.try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
        let waits = tokio::spawn({
            let shared = shared.clone();
            async move { shared.share(|| async { Ok(7) }).await }
        });
        while shared.readers.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert_eq!(waits.await.unwrap(), Ok(7));
    }
}
