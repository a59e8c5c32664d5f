//! One real process: run to its end, or held while a test looks at it. Nothing waits without a deadline, and nothing outlives its test.

use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A started program; killed when dropped.
pub struct Program {
    child: Child,
    said: TempDir,
}

/// How a program ended.
#[derive(Debug)]
pub struct End {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl End {
    /// Fails the test unless it ended with `code` and wrote all of these words to either stream.
    #[track_caller]
    pub fn expect(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "out: {}\nerr: {}", self.out, self.err);
        for w in words {
            assert!(
                self.err.contains(w) || self.out.contains(w),
                "no word of `{w}` in: {}{}",
                self.out,
                self.err
            );
        }
    }
}

impl Program {
    /// Starts it with both outputs into files, so that it can't hang on a full pipe. Its stdin is closed unless the caller set one.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let said = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| File::create(said.path().join(name)).expect("a file for output");
        command.stdout(file("out")).stderr(file("err"));
        let child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", command.get_program().display()));
        Self { child, said }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input, if the caller made it a pipe.
    pub fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// What it wrote so far.
    pub fn text(&self, stream: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.said.path().join(stream)).unwrap_or_default())
            .into_owned()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("signal");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self, patience: Duration) -> End {
        let until = Instant::now() + patience;
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            if Instant::now() >= until {
                let (out, err) = (self.text("out"), self.text("err"));
                panic!("it did not end within {patience:?}; out: {out}\nerr: {err}");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        End { code: status.code().unwrap_or(-1), out: self.text("out"), err: self.text("err") }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One of the project's programs with a closed stdin.
pub fn program(name: &str) -> Command {
    let path = crate::bin_dir().join(name);
    assert!(path.exists(), "{} is not built: run `make test`", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).env_remove("BKV_FLEET").env_remove("BKV_STATE");
    command
}

/// Prints that something was not tested, and why.
pub fn skipped(what: &str, why: &str) {
    eprintln!("skipped: {what}: {why}");
}
