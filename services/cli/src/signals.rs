//! SIGINT, SIGTERM and SIGHUP. A command that must end in order handles them itself ([`Handled`]). Otherwise the process ends at once. Either way the terminal has
//! its echo again.

use std::fs::File;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rustix::termios::{OptionalActions, Termios, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Failure, Outcome};
use crate::failure::SET_PASSWORD;
use crate::output::Output;

/// How long an output may take the last message of an interrupted command.
const PATIENCE: Duration = Duration::from_secs(1);

static HANDLED: AtomicUsize = AtomicUsize::new(0);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static QUESTION: Mutex<Option<Question>> = parking_lot::const_mutex(None);

/// While it exists, the command ends in order after a signal.
#[derive(Debug)]
pub(crate) struct Handled(());

impl Handled {
    pub(crate) fn new() -> Self {
        HANDLED.fetch_add(1, Ordering::SeqCst);
        Self(())
    }

    /// The command has got its signal and ends. [`watch`] may see the same signal only now, and must leave the last words to the command.
    pub(crate) fn for_good(self) {
        INTERRUPTED.store(true, Ordering::SeqCst);
        std::mem::forget(self);
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        HANDLED.fetch_sub(1, Ordering::SeqCst);
    }
}

/// True once a command that ends in order has got its signal: calls to a server that wait end now.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// A question that blocks a thread, with the terminal's settings from before if its echo is off.
struct Question(Option<(File, Termios)>);

/// While it exists, a signal ends the process, because the command waits for a person and can't end in order.
#[derive(Debug)]
pub(crate) struct Asking(());

fn question() -> MutexGuard<'static, Option<Question>> {
    QUESTION.lock()
}

impl Asking {
    /// `before`: the terminal and the settings that it gets back.
    pub(crate) fn new(before: Option<(File, Termios)>) -> Self {
        *question() = Some(Question(before));
        Self(())
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(asked) = question().take() {
            asked.end();
        }
    }
}

impl Question {
    fn end(&self) {
        if let Some((terminal, before)) = &self.0 {
            // Ignore the error: the terminal is gone.
            let _ = tcsetattr(terminal, OptionalActions::Now, before);
        }
    }
}

/// The signals. Must be called in a runtime.
pub(crate) struct Signals([Option<Signal>; 3]);

/// `nohup` starts a command with SIGHUP ignored, and means it.
fn hangup_is_ignored() -> bool {
    const SIGHUP: u64 = 1;
    let status = procfs::process::Process::myself().and_then(|own| own.status());
    status.is_ok_and(|status| status.sigign & SIGHUP != 0)
}

impl Signals {
    pub(crate) fn new() -> Self {
        let listen = |kind| signal(kind).ok();
        let hangup = if hangup_is_ignored() { None } else { listen(SignalKind::hangup()) };
        Self([listen(SignalKind::interrupt()), listen(SignalKind::terminate()), hangup])
    }

    pub(crate) async fn received(&mut self) {
        let [int, term, hangup] = &mut self.0;
        tokio::select! {
            () = one(int) => {}
            () = one(term) => {}
            // The terminal is closed. A restore must not leave its plaintext.
            () = one(hangup) => {}
        }
    }
}

async fn one(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Ends the process after a signal that no command handles. Must be called in a runtime.
pub(crate) fn watch(out: Output) {
    let mut signals = Signals::new();
    tokio::spawn(async move {
        loop {
            signals.received().await;
            let asked = question().take();
            if asked.is_none() && HANDLED.load(Ordering::SeqCst) > 0 {
                continue;
            }
            // The command may hold the lock of an output that takes no more. It must still end.
            std::thread::spawn(|| {
                std::thread::sleep(PATIENCE);
                std::process::exit(i32::from(Exit::Interrupted as u8));
            });
            let mut failure = Failure::new(Exit::Interrupted, "interrupted");
            if let Some(asked) = asked {
                asked.end();
                let _ = writeln!(std::io::stderr());
                failure = failure.remedy("No try was spent.");
            }
            out.failure(&failure);
            std::process::exit(i32::from(Exit::Interrupted as u8));
        }
    });
}

/// What a command may have sent when a signal ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Try,
    Registration,
    TryAndChange,
    Deletion,
    Forgetting,
    Count,
    Name,
}

impl Sent {
    fn interrupted(self) -> Failure {
        let try_spent = || format!("{} {SET_PASSWORD}", bkv_client::Counted::Perhaps.advice());
        let failure = Failure::new(Exit::Interrupted, "interrupted before the vault had answered");
        let tried = |failure: Failure| failure.detail("try_counted", bkv_client::Counted::Perhaps.word());
        match self {
            Self::Try => tried(failure.remedy(try_spent())),
            Self::Registration => failure.remedy(
                "No try was spent. The registration may have been sent and may still take effect: look at `bkv status`, then repeat the command, or get the key with the new password (`bkv recover`).",
            ),
            Self::TryAndChange => tried(failure.remedy(format!(
                "{} The new password may have been sent and may still take effect: look at `bkv status`, then try the old password and the new one.",
                try_spent()
            ))),
            Self::Deletion => failure.remedy("The deletion may have been sent and may still take effect: look at `bkv status`."),
            Self::Forgetting => failure.remedy("The request may have been sent and may still take effect: look at `bkv writers`."),
            Self::Count => failure.remedy("The key is on this device. Whether all tries are back was not seen: run `bkv status`."),
            Self::Name => failure.remedy("Make another backup."),
        }
    }
}

/// Awaits `work`. A signal drops it, and the failure names what may have been sent.
pub(crate) fn interruptible<T>(
    work: impl Future<Output = T>,
    sent: Sent,
) -> impl Future<Output = Outcome<T>> {
    // On the heap: a recovery's state is large, and every caller's would hold it.
    let work = Box::pin(work);
    async move {
        let handled = Handled::new();
        let mut signals = Signals::new();
        tokio::select! {
            // A result that is there is never dropped: it may be a key.
            biased;
            done = work => Ok(done),
            () = signals.received() => {
                handled.for_good();
                Err(sent.interrupted())
            }
        }
    }
}

/// One test at a time sends signals to the test's process, because every test in it gets them.
#[cfg(test)]
pub(crate) static SIGNALLING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_signal_ends_the_wait_for_a_vault_and_says_what_may_have_been_sent() {
        let _one = SIGNALLING.lock().await;
        for (by, sent, word) in [
            (Signal::INT, Sent::Try, "A try may have been spent"),
            (Signal::TERM, Sent::Registration, "No try was spent"),
            (Signal::INT, Sent::TryAndChange, "The new password may have been sent"),
        ] {
            let work = async {
                kill_process(getpid(), by).unwrap();
                std::future::pending::<()>().await;
            };
            let failure = interruptible(work, sent).await.unwrap_err();
            assert_eq!(failure.exit, Exit::Interrupted);
            assert!(failure.remedy.as_ref().unwrap().contains(word), "{failure:?}");
            assert_eq!(failure.details.contains_key("try_counted"), sent != Sent::Registration);
        }
        assert_eq!(interruptible(async { 7 }, Sent::Name).await.unwrap(), 7);
    }
}
