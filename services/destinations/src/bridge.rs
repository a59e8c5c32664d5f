//! Asynchronous work for callers on threads. The threads of the runtime belong to one destination and end with it.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use bkv_backups::destination::Fault;
use tokio::runtime::{Builder, Runtime};

/// How often a caller looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Asked while a call waits. True ends the call.
pub(crate) type Stop = Box<dyn Fn() -> bool + Send + Sync>;

/// Owns the runtime.
pub(crate) struct Bridge {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    stop: Stop,
}

impl Bridge {
    pub(crate) fn new(stop: Stop) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("bkv-destination")
            .enable_all()
            .build()?;
        Ok(Self { runtime: Some(runtime), stop })
    }

    /// Runs `work` and waits for it, on any thread. A call that is stopped drops the work.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let ended = || Fault::Unavailable("the command was interrupted".into());
        let runtime = self.runtime.as_ref().ok_or_else(ended)?;
        let (send, receive) = sync_channel(1);
        let task = runtime.spawn(async move {
            // The caller may have stopped.
            let _ = send.send(work.await);
        });
        loop {
            match receive.recv_timeout(LOOK) {
                Ok(done) => return done,
                Err(RecvTimeoutError::Timeout) if !(self.stop)() => {}
                Err(RecvTimeoutError::Timeout) => {
                    task.abort();
                    return Err(ended());
                }
                // The task has panicked.
                Err(RecvTimeoutError::Disconnected) => {
                    let what = "an answer of the server could not be taken apart; check that it is an S3 or WebDAV server";
                    return Err(Fault::Other(what.into()));
                }
            }
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // Callers wait for their work, so nothing runs any more but idle connections. Waiting for them is not allowed where async code drops this.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn it_runs_and_ends_within_another_runtime() {
        let bridge = Bridge::new(Box::new(|| false)).unwrap();
        assert_eq!(bridge.run(async { Ok(7) }), Ok(7));
    }

    #[test]
    fn a_call_that_is_stopped_drops_its_work() {
        struct Dropped(Arc<AtomicBool>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let dropped = Arc::new(AtomicBool::new(false));
        let held = Dropped(Arc::clone(&dropped));
        let bridge = Bridge::new(Box::new(|| true)).unwrap();
        let waits = async move {
            let _held = held;
            std::future::pending::<Result<(), Fault>>().await
        };
        assert!(matches!(bridge.run(waits), Err(Fault::Unavailable(_))));
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while !dropped.load(Ordering::SeqCst) && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(dropped.load(Ordering::SeqCst));
    }
}
