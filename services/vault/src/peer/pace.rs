//! When a connection writes: under load a write waits a moment, so that more messages share it. Each write costs a system call, a TLS record and a wake-up at the
//! other end.

use std::time::Duration;

use tokio::time::sleep;

/// A write with this many messages shows that many callers are waiting, so the next write gathers for a moment first. Otherwise a call waits only once,
/// behind such a write.
const BUSY: usize = 4;
const GATHER: Duration = Duration::from_millis(1);

/// The pace of one connection's writes.
#[derive(Default)]
pub(super) struct Pace {
    /// Messages in the last write.
    written: usize,
}

impl Pace {
    /// Waits until the connection should write.
    pub(super) async fn gather(&self) {
        if self.written >= BUSY {
            sleep(GATHER).await;
        } else {
            // Other callers that are about to call get the chance to share the frame.
            tokio::task::yield_now().await;
        }
    }

    /// Takes the number of messages that were written.
    pub(super) const fn wrote(&mut self, messages: usize) {
        self.written = messages;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_single_message_never_waits_and_many_do() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.gather().await;
        pace.wrote(BUSY - 1);
        pace.gather().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        pace.wrote(BUSY);
        pace.gather().await;
        let gathered = start.elapsed();
        assert!(gathered >= GATHER);
        pace.wrote(1);
        pace.gather().await;
        assert_eq!(start.elapsed(), gathered);
    }
}
