//! Starts the child process and waits for it. The child is the calling program, started again, and it alone loads the module. The request, PINs
//! included, goes through the child's standard input.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::{CONF_VARIABLE, SetupError};

/// The argument that makes a program the child. No program has an argument of its own with this prefix.
pub(super) const CHILD_ARGUMENT: &str = "__bkv-softhsm-init-token";
/// The child prints this line last if the token accepts the PIN. Its exit code is not enough: a program that forgot to call
/// [`super::run_child_if_asked`] may well end with 0.
pub(super) const DONE: &str = "bkv-softhsm: done";
/// The child prints this line if the token refuses the PIN.
pub(super) const REFUSED: &str = "bkv-softhsm: the PIN is refused";
/// How long a child may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// What the child does.
#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) module: PathBuf,
    pub(super) label: String,
    pub(super) pin: String,
    /// With an SO PIN the child makes the token. Without one it only checks the token that exists.
    pub(super) so_pin: Option<String>,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.pin.zeroize();
        self.so_pin.zeroize();
    }
}

/// Why the child process did not do its work. Contains no PIN.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The request can't be encoded.
    #[error("the request to the child process cannot be encoded")]
    Request(#[source] serde_json::Error),
    /// The system starts no process.
    #[error("no child process can be started")]
    Start(#[source] std::io::Error),
    /// The system reports no end of the process.
    #[error("the child process cannot be awaited")]
    Wait(#[source] std::io::Error),
    /// The parent killed it at the deadline.
    #[error("the child process did not end within {0:?}")]
    Deadline(Duration),
    /// It ended without success.
    #[error("the child process ended with {status}: {report}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to its standard error.
        report: String,
    },
}

/// This program as a child.
pub(super) fn this_program() -> Result<Command, SetupError> {
    let exe =
        std::env::current_exe().map_err(|source| SetupError::Io { path: "/proc/self/exe".into(), source })?;
    let mut command = Command::new(exe);
    command.arg(CHILD_ARGUMENT);
    Ok(command)
}

/// Runs a child with this request. `conf` configures the module.
pub(super) fn ask(command: Command, conf: &Path, request: &Request) -> Result<(), SetupError> {
    let failed = |source| SetupError::Child { label: request.label.clone(), source };
    let (status, report) = run(command, conf, request).map_err(failed)?;
    if report.contains(REFUSED) {
        return Err(SetupError::PinRefused { label: request.label.clone() });
    }
    if status.success() && report.contains(DONE) {
        return Ok(());
    }
    Err(failed(ProcessError::Failed { status, report: report.trim().to_owned() }))
}

fn run(mut command: Command, conf: &Path, request: &Request) -> Result<(ExitStatus, String), ProcessError> {
    let input = Zeroizing::new(serde_json::to_vec(request).map_err(ProcessError::Request)?);
    let mut child = command
        .env(CONF_VARIABLE, conf)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(ProcessError::Start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that ended early does not read. Its exit code and its report explain more than this error.
        let _ = stdin.write_all(&input);
    }
    let until = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(ProcessError::Wait)? {
            break status;
        }
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            return Err(ProcessError::Deadline(DEADLINE));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut report = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(4096).read_to_string(&mut report);
    }
    Ok((status, report))
}
