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
    async fn end(&mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Refresher {
    /// Ends the refresh of the ring before, then refreshes this one until `stop`.
    pub(super) async fn replace(&self, ring: Arc<KeyRing>, refresh: Refresh, stop: &CancellationToken) {
        let mut current = self.0.lock().await;
        // The handle stays in the lock until its task has ended: the caller may be dropped while it waits.
        if let Some(before) = current.as_mut() {
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
        let mut current = self.0.lock().await;
        if let Some(running) = current.as_mut() {
            running.end().await;
        }
        *current = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bkv_tokens::KeySource;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    /// So often that the test is short, and so seldom that no poll is cut short.
    const OFTEN: Refresh =
        Refresh { every: Duration::from_millis(20), at_most_every: Duration::from_millis(20) };
    const PATIENCE: Duration = Duration::from_mins(1);

    /// An issuer that closes each connection. The ring dials once for each poll, and polls again after the failure.
    struct Issuer {
        listener: TcpListener,
        /// The same socket without tokio, whose knowledge of waiting connections may be late.
        socket: std::net::TcpListener,
    }

    impl Issuer {
        fn start() -> Self {
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            let listener = TcpListener::from_std(socket.try_clone().unwrap()).unwrap();
            Self { listener, socket }
        }

        fn source(&self) -> KeySource {
            let url = format!("https://{}/jwks.json", self.socket.local_addr().unwrap());
            KeySource::Url { url, ca_file: None }
        }

        /// A ring whose first load this issuer has already counted.
        async fn ring(&self) -> Arc<KeyRing> {
            let (ring, ()) = tokio::join!(KeyRing::load(self.source()), self.polled(1));
            ring.unwrap()
        }

        /// Waits until the ring has polled so many times more.
        async fn polled(&self, times: usize) {
            for _ in 0..times {
                drop(timeout(PATIENCE, self.listener.accept()).await.expect("a poll").unwrap());
            }
        }

        /// The polls that were not counted yet.
        fn backlog(&self) -> usize {
            std::iter::from_fn(|| self.socket.accept().ok()).count()
        }
    }

    #[tokio::test]
    async fn the_url_of_a_replaced_policy_is_polled_no_more() {
        let (refresher, stop) = (Refresher::default(), CancellationToken::new());
        let (old, new) = (Issuer::start(), Issuer::start());
        refresher.replace(old.ring().await, OFTEN, &stop).await;
        old.polled(3).await;
        refresher.replace(new.ring().await, OFTEN, &stop).await;
        old.backlog();
        // With the same period, a task that still ran would poll about as often.
        new.polled(10).await;
        assert_eq!(old.backlog(), 0);
        refresher.end().await;
        assert!(!stop.is_cancelled());
    }

    #[tokio::test]
    async fn the_refresh_ends_with_the_vault() {
        let (refresher, stop) = (Refresher::default(), CancellationToken::new());
        let (issuer, other) = (Issuer::start(), Issuer::start());
        refresher.replace(issuer.ring().await, OFTEN, &stop).await;
        issuer.polled(3).await;
        stop.cancel();
        refresher.end().await;
        issuer.backlog();
        // A second refresher measures the time.
        let clock = Refresher::default();
        clock.replace(other.ring().await, OFTEN, &CancellationToken::new()).await;
        other.polled(10).await;
        assert_eq!(issuer.backlog(), 0);
        clock.end().await;
    }

    /// An issuer that never answers must not hold up the next policy.
    #[tokio::test]
    async fn a_fetch_under_way_is_dropped() {
        let (refresher, stop) = (Refresher::default(), CancellationToken::new());
        let (silent, next) = (Issuer::start(), Issuer::start());
        refresher.replace(silent.ring().await, OFTEN, &stop).await;
        let _held = timeout(PATIENCE, silent.listener.accept()).await.expect("a poll").unwrap();
        // Less than the ten seconds after which a fetch gives up.
        let replaced = refresher.replace(next.ring().await, OFTEN, &stop);
        timeout(Duration::from_secs(5), replaced).await.expect("the fetch is dropped");
        refresher.end().await;
    }
}
