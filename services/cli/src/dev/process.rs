//! The fleet's processes: each in a process group of its own, its output in a log file, its pid in a file. Nothing here waits without a deadline.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::exit::{Exit, Failure, Outcome};

/// One long-running program of the local fleet.
pub(crate) struct Process {
    /// For people.
    pub name: String,
    /// `<dir>/<name>.pid`
    pub pid_file: PathBuf,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Process {
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        Self { name: name.to_owned(), pid_file: dir.join("pid"), log: dir.join("log") }
    }

    /// Starts it, unless it runs already. Its stdin is closed, so that it never waits for a person.
    pub(crate) fn start(&self, mut command: Command) -> Outcome {
        if self.pid().is_some() {
            return Ok(());
        }
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |what: &str, e: &std::io::Error| {
            Failure::new(Exit::Unexpected, format!("{}: can't {what} {program}: {e}", self.name))
        };
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(|e| failed("open the log of", &e))?;
        let err = log.try_clone().map_err(|e| failed("open the log of", &e))?;
        command.stdin(Stdio::null()).stdout(log).stderr(err).process_group(0);
        let child = command.spawn().map_err(|e| {
            failed("start", &e).remedy(format!("Is {program} built? It is looked for beside `bkv`."))
        })?;
        fs::write(&self.pid_file, format!("{} {}", child.id(), started_at(child.id()).unwrap_or(0)))
            .map_err(|e| failed("note the pid of", &e))
    }

    /// The pid of the running process. A pid that the system gave to another process since is recognised by its start time.
    pub(crate) fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(&self.pid_file).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        let (pid, started): (u32, u64) = (pid.parse().ok()?, started.parse().ok()?);
        if started_at(pid)? != started || stat(pid).is_some_and(|f| has_ended(&f)) {
            return None;
        }
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        test_kill_process(pid).ok().map(|()| pid)
    }

    /// Sends a signal; false if it does not run.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        self.pid().is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    /// SIGTERM (and SIGCONT, in case it was paused), and SIGKILL if it is still there after `patience`.
    pub(crate) fn stop(&self, patience: Duration) {
        if self.signal(Signal::TERM) {
            self.signal(Signal::CONT);
            if !self.gone_within(patience) {
                self.signal(Signal::KILL);
                self.gone_within(Duration::from_secs(5));
            }
        }
        let _ = fs::remove_file(&self.pid_file);
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&self) -> bool {
        let was = self.signal(Signal::KILL);
        self.gone_within(Duration::from_secs(5));
        let _ = fs::remove_file(&self.pid_file);
        was
    }

    fn gone_within(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while self.pid().is_some() {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// The last lines of its log, for the error of a failed start.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(8).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// Field 22 of /proc/PID/stat: when it started, in ticks since boot. Together with the pid this names a process for good.
fn started_at(pid: u32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// True for a zombie without other threads (field 20 of /proc/PID/stat): all its files are closed. The main thread of a killed process is a zombie while
/// others still end, and those still hold the lock on the vault's store.
fn has_ended(stat: &[String]) -> bool {
    stat.first().is_some_and(|s| s == "Z") && stat.get(17).is_none_or(|n| n == "1" || n == "0")
}

/// The fields after the command name (which may hold blanks and parentheses): the first is the state.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_started_seen_and_stopped_and_a_reused_pid_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let p = Process::new(dir.path(), "sleeper");
        let mut command = Command::new("sleep");
        command.arg("60");
        p.start(command).unwrap();
        let pid = p.pid().expect("it runs");
        p.stop(Duration::from_secs(5));
        assert!(p.pid().is_none());
        // The same pid with another start time is another process.
        fs::write(&p.pid_file, format!("{} 1", std::process::id())).unwrap();
        assert!(p.pid().is_none());
        assert_ne!(pid.as_raw_nonzero().get().unsigned_abs(), std::process::id());
    }

    #[test]
    fn a_zombie_has_ended_once_its_other_threads_have() {
        let fields = |state: &str, threads: &str| {
            let line = format!("{state} 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 {threads} 0 5");
            line.split(' ').map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(has_ended(&fields("Z", "1")));
        assert!(!has_ended(&fields("Z", "3")));
        assert!(!has_ended(&fields("S", "1")));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let e =
            Process::new(dir.path(), "vault eu").start(Command::new("/nonexistent/bkv-vault")).unwrap_err();
        assert!(e.message.contains("vault eu") && e.message.contains("/nonexistent/bkv-vault"), "{e}");
    }
}
