//! The fleet's processes: each in a process group of its own, its output in a log file, its pid in a file. Nothing here waits without a deadline.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use procfs::process::Stat;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

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
        let started = alive(Pid::from_child(&child)).map_or(0, |stat| stat.starttime);
        fs::write(&self.pid_file, format!("{} {started}", child.id()))
            .map_err(|e| failed("note the pid of", &e))
    }

    /// The pid of the running process. A pid that the system gave to another process since is recognised by its start time.
    pub(crate) fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(&self.pid_file).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        let (pid, started): (i32, u64) = (pid.parse().ok()?, started.parse().ok()?);
        let pid = Pid::from_raw(pid)?;
        (alive(pid)?.starttime == started).then_some(pid)
    }

    /// The number of the running process, for people and programs.
    pub(crate) fn number(&self) -> Option<i32> {
        self.pid().map(|pid| pid.as_raw_nonzero().get())
    }

    /// True if it got SIGSTOP: it runs, and answers nothing.
    pub(crate) fn is_paused(&self) -> bool {
        self.pid().and_then(alive).is_some_and(|stat| stat.state == 'T')
    }

    /// Fails if it is paused. Whoever waits for it would wait in vain.
    pub(crate) fn not_paused(&self) -> Outcome {
        let Some(pid) = self.number().filter(|_| self.is_paused()) else { return Ok(()) };
        let remedy = match self.name.strip_prefix("vault ") {
            Some(region) => format!("`bkv dev region resume {region}` lets it go on, with the same --dir."),
            None => format!("`kill -CONT {pid}` lets it go on."),
        };
        Err(Failure::new(
            Exit::Unavailable,
            format!("{} (process {pid}) is paused: it got SIGSTOP", self.name),
        )
        .remedy(remedy))
    }

    /// Sends a signal; false if it does not run. Fails if it is another user's.
    pub(crate) fn signal(&self, signal: Signal) -> Outcome<bool> {
        let Some(pid) = self.pid() else { return Ok(false) };
        match kill_process(pid, signal) {
            Ok(()) => Ok(true),
            Err(Errno::PERM) => {
                let number = pid.as_raw_nonzero().get();
                let user = procfs::process::Process::new(number).and_then(|p| p.uid()).ok();
                let user = user.map_or_else(String::new, |uid| format!(" (user id {uid})"));
                Err(Failure::new(
                    Exit::Unexpected,
                    format!("{}: process {number} is another user's{user}, and still runs", self.name),
                )
                .remedy("Repeat the command as that user, or as root."))
            }
            // It has ended since.
            Err(_) => Ok(false),
        }
    }

    /// SIGTERM (and SIGCONT, in case it was paused), and SIGKILL if it is still there after `patience`. False if it did not run.
    pub(crate) fn stop(&self, patience: Duration) -> Outcome<bool> {
        let ran = self.signal(Signal::TERM)?;
        if ran {
            self.signal(Signal::CONT)?;
            if !self.gone_within(patience) {
                self.signal(Signal::KILL)?;
                self.gone_within(Duration::from_secs(5));
            }
        }
        let _ = fs::remove_file(&self.pid_file);
        Ok(ran)
    }

    /// SIGKILL, and waits until it is gone. False if it did not run.
    pub(crate) fn kill(&self) -> Outcome<bool> {
        let ran = self.signal(Signal::KILL)?;
        self.gone_within(Duration::from_secs(5));
        let _ = fs::remove_file(&self.pid_file);
        Ok(ran)
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

/// None if there is no such process, or it has ended.
fn alive(pid: Pid) -> Option<Stat> {
    let stat = procfs::process::Process::new(pid.as_raw_nonzero().get()).and_then(|p| p.stat()).ok()?;
    Some(stat).filter(|s| !has_ended(s))
}

/// True for a zombie without other threads: all its files are closed. The main thread of a killed process is a zombie while others still end, and those
/// still hold the lock on the vault's store.
fn has_ended(stat: &Stat) -> bool {
    stat.state == 'Z' && stat.num_threads <= 1
}

#[cfg(test)]
mod tests {
    use procfs::FromRead as _;

    use super::*;

    #[test]
    fn a_process_is_started_seen_and_stopped_and_a_reused_pid_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let p = Process::new(dir.path(), "sleeper");
        let mut command = Command::new("sleep");
        command.arg("60");
        p.start(command).unwrap();
        let pid = p.pid().expect("it runs");
        p.not_paused().unwrap();
        assert!(p.signal(Signal::STOP).unwrap());
        while !p.is_paused() {
            std::thread::yield_now();
        }
        assert!(p.not_paused().unwrap_err().remedy.unwrap().contains("kill -CONT"));
        assert!(p.stop(Duration::from_secs(5)).unwrap());
        assert!(p.pid().is_none());
        assert!(!p.signal(Signal::TERM).unwrap() && !p.stop(Duration::from_secs(5)).unwrap());
        // The same pid with another start time is another process.
        fs::write(&p.pid_file, format!("{} 1", std::process::id())).unwrap();
        assert!(p.pid().is_none());
        assert_ne!(pid.as_raw_nonzero().get().unsigned_abs(), std::process::id());
    }

    #[test]
    fn a_zombie_has_ended_once_its_other_threads_have() {
        let fields = |state: &str, threads: &str| {
            let rest = format!("0 5 0 0 18446744073709551615 {}", ["0"; 27].join(" "));
            let line = format!("7 (a b) {state} 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 {threads} {rest}");
            Stat::from_read(line.as_bytes()).unwrap()
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
