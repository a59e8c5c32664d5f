//! The one task that keeps the issuer's signing keys fresh.

use std::sync::Arc;

use bkv_tokens::{KeyRing, Refresh};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Owns the task. Each policy that is installed brings its own ring, and only the newest is refreshed.
#[derive(Default)]
pub(super) struct Refresher(Mutex<Option<Running>>);

struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

impl Refresher {
    /// Ends the refresh of the ring before, then refreshes this one until `stop`.
    pub(super) async fn replace(&self, ring: Arc<KeyRing>, refresh: Refresh, stop: &CancellationToken) {
        let mut current = self.0.lock().await;
        if let Some(before) = current.take() {
            before.end().await;
        }
        let stop = stop.child_token();
        let ended = stop.clone();
        let task = tokio::spawn(async move {
            // A fetch that is under way is dropped: an issuer that does not answer must not hold up the next policy or the shutdown.
            ended.run_until_cancelled(ring.run(refresh, ended.clone())).await;
        });
        *current = Some(Running { stop, task });
    }

    /// Ends the refresh and waits for its task.
    pub(super) async fn end(&self) {
        if let Some(running) = self.0.lock().await.take() {
            running.end().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use bkv_tokens::KeySource;

    use super::*;

    /// The example key of RFC 7517.
    const JWKS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","alg":"ES256","use":"sig",
        "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

    async fn ring() -> Arc<KeyRing> {
        KeyRing::load(KeySource::Inline(JWKS.into())).await.unwrap()
    }

    /// The task of a ring holds the ring: one that is held by this test alone is refreshed no more.
    #[tokio::test]
    async fn a_new_policy_ends_the_refresh_of_the_one_before() {
        let (refresher, stop) = (Refresher::default(), CancellationToken::new());
        let (first, second) = (ring().await, ring().await);
        refresher.replace(first.clone(), Refresh::default(), &stop).await;
        assert_eq!(Arc::strong_count(&first), 2);
        refresher.replace(second.clone(), Refresh::default(), &stop).await;
        assert_eq!(Arc::strong_count(&first), 1);
        assert_eq!(Arc::strong_count(&second), 2);
        refresher.end().await;
        assert_eq!(Arc::strong_count(&second), 1);
        assert!(!stop.is_cancelled());
    }

    #[tokio::test]
    async fn the_refresh_ends_with_the_vault() {
        let (refresher, stop) = (Refresher::default(), CancellationToken::new());
        let only = ring().await;
        refresher.replace(only.clone(), Refresh::default(), &stop).await;
        stop.cancel();
        refresher.end().await;
        assert_eq!(Arc::strong_count(&only), 1);
    }
}
