//! One real process: a test runs it to its end, or inspects it while it runs. Every wait has a deadline, and no process outlives its test.

use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A started program, killed when dropped.
pub struct Program {
    child: Child,
    output: TempDir,
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
    /// Fails the test unless the program ended with `code` and wrote each of these texts to either stream.
    #[track_caller]
    pub fn expect(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "out: {}\nerr: {}", self.out, self.err);
        for text in texts {
            assert!(
                self.err.contains(text) || self.out.contains(text),
                "`{text}` is missing in: {}{}",
                self.out,
                self.err
            );
        }
    }
}

impl Program {
    /// Starts a program with both outputs in files, so that a full pipe can't block it. The caller sets its stdin.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let output = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| File::create(output.path().join(name)).expect("a file for output");
        command.stdout(file("out")).stderr(file("err"));
        let child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", command.get_program().display()));
        Self { child, output }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input if the caller set a pipe.
    pub fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// Its output so far. `stream` is `out` or `err`.
    pub fn text(&self, stream: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.output.path().join(stream)).unwrap_or_default())
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

    /// Waits until it ends.
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

/// The same, which a closed terminal ends even if these tests run under `nohup`: a child inherits that SIGHUP is ignored.
pub fn in_terminal(name: &str) -> Command {
    let named = program(name);
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP").arg(named.get_program());
    command.stdin(Stdio::null()).env_remove("BKV_FLEET").env_remove("BKV_STATE");
    command
}

/// Prints that something was not tested, and the reason.
pub fn skipped(what: &str, why: &str) {
    eprintln!("skipped: {what}: {why}");
}
