//! versitygw over a folder.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Process, free_port};

/// An S3 server with the bucket `backups`.
#[derive(Debug)]
pub struct S3 {
    program: PathBuf,
    dir: TempDir,
    port: u16,
    process: Option<Process>,
}

/// The program, built once outside the checkout. None if Go is missing.
fn program() -> Option<PathBuf> {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("versitygw/build.sh");
    let built = Command::new(build).output().expect("versitygw/build.sh");
    let text = String::from_utf8_lossy(&built.stderr);
    if built.status.code() == Some(3) {
        // Write to stderr itself: the test harness captures `eprintln!` of a test that passes.
        let _ = writeln!(std::io::stderr(), "\nskipped: a test on S3 did not run: {text}");
        return None;
    }
    assert!(built.status.success(), "versitygw: {text}");
    Some(PathBuf::from(String::from_utf8(built.stdout).expect("a path").trim()))
}

impl S3 {
    /// Key id and secret of the server's root user.
    pub const CREDENTIALS: (&str, &str) = ("root-key-id", "root-secret-7f3b");
    /// Its bucket.
    pub const BUCKET: &str = "backups";

    /// Starts it. None, and a printed line, if Go is missing, with which the server is built.
    #[must_use]
    pub fn start() -> Option<Self> {
        let mut server = Self::prepared()?;
        fs::create_dir(server.root().join(Self::BUCKET)).expect("a bucket");
        server.go_on();
        Some(server)
    }

    /// A server that does not run yet and has no bucket. `root` may be mounted over.
    #[must_use]
    pub fn prepared() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for folder in ["root", "users"] {
            fs::create_dir(dir.path().join(folder)).expect("a folder");
        }
        Some(Self { program: program()?, dir, port: free_port(), process: None })
    }

    /// The folder in which each bucket is a folder.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Starts it again at the same port.
    pub fn go_on(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(["--port", &format!("127.0.0.1:{}", self.port), "--keep-alive", "--quiet"]);
        command.arg("--iam-dir").arg(self.dir.path().join("users")).args(["posix", "--sidecar"]);
        fs::create_dir_all(self.dir.path().join("meta")).expect("a folder");
        command.arg(self.dir.path().join("meta")).arg(self.root());
        command.env("ROOT_ACCESS_KEY", Self::CREDENTIALS.0).env("ROOT_SECRET_KEY", Self::CREDENTIALS.1);
        self.process = Some(Process::start(command, self.port, &self.dir.path().join("log")));
    }

    /// Kills it.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// URL of the server.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs `versitygw admin` with these arguments, such as `create-user`.
    pub fn admin(&self, arguments: &[&str]) {
        let (access, secret) = Self::CREDENTIALS;
        let mut command = Command::new(&self.program);
        command.args(["admin", "--access", access, "--secret", secret, "--endpoint-url", &self.endpoint()]);
        let done = command.args(arguments).output().expect("versitygw admin");
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}
