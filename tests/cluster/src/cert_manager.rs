//! cert-manager's own controllers, as a process. `cluster cert-manager` builds them.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use tempfile::NamedTempFile;

use crate::api_server::program;
use crate::{ApiServer, CommandOutput};

/// Runs until it is dropped or the test process ends, even by a signal: it watches its standard input.
pub struct CertManager {
    child: Child,
    log: NamedTempFile,
}

impl CertManager {
    /// On a server that has its definitions.
    pub fn start(server: &ApiServer) -> Self {
        let program = CommandOutput::of(Command::new(program()).arg("cert-manager"), None).good();
        let log = NamedTempFile::with_prefix("bkv-cert-manager-").expect("a log");
        let child = Command::new(program.trim())
            .arg(server.folder().join("kubeconfig"))
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log.reopen().expect("the log"))
            .process_group(0) // Ctrl-C is for the tests
            .spawn()
            .expect("cert-manager");
        Self { child, log }
    }
}

impl Drop for CertManager {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let words = std::fs::read_to_string(self.log.path()).unwrap_or_default();
            let last: Vec<_> = words.lines().rev().take(30).collect();
            eprintln!(
                "-- cert-manager's last log lines:\n{}",
                last.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
