//! The operator as a process, as its Deployment runs it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::Account;

/// A program of this build: from `BKV_BIN_DIR`, else from beside the tests.
pub fn binary(name: &str) -> PathBuf {
    let beside = || {
        let test = std::env::current_exe().expect("this test's path");
        test.ancestors().nth(2).expect("target/<profile>/deps/<test>").to_owned()
    };
    let folder = std::env::var_os("BKV_BIN_DIR").map_or_else(beside, PathBuf::from);
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built: cargo build --workspace --bins", path.display());
    path
}

/// Runs until it is dropped.
pub struct Operator {
    child: Child,
    /// Ends it also when the test is killed.
    guardian: Child,
    log: NamedTempFile,
    address: SocketAddr,
}

impl Operator {
    /// Starts it with the account's rights in its namespace. `more` are further arguments.
    pub fn start(account: &Account, identity: &str, more: &[&str]) -> Self {
        let log = NamedTempFile::with_prefix("bkv-operator-").expect("a log");
        let address = free_address();
        let images = ["vault", "chatd", "postgres", "copier"];
        let child = Command::new(binary("bkv-operator"))
            .args(["run", "--health", &address.to_string(), "--identity", identity])
            .args(["--namespace", &account.namespace, "--lease-namespace", &account.namespace])
            .args(images.map(|i| format!("--{i}-image=registry.example/bkv-{i}:1")))
            .args(more)
            .env_clear()
            .env("KUBECONFIG", &account.kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.reopen().expect("the log"))
            .process_group(0)
            .spawn()
            .expect("bkv-operator");
        let guardian = Command::new("sh")
            .args(["-c", "read -r _; kill -KILL \"$0\"", &child.id().to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");
        Self { child, guardian, log, address }
    }

    /// Sends `GET` to its health port. None without an answer.
    pub fn ask(&self, path: &str) -> Option<(u16, String)> {
        let wait = Duration::from_secs(2);
        let mut stream = TcpStream::connect_timeout(&self.address, wait).ok()?;
        stream.set_read_timeout(Some(wait)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: operator\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The sum of a metric over all labels, or over the lines that contain `part`.
    pub fn metric(&self, name: &str, part: &str) -> Option<f64> {
        let (_, text) = self.ask("/metrics").filter(|(code, _)| *code == 200)?;
        let lines = text.lines().filter(|l| {
            l.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && l.contains(part)
        });
        Some(lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// True if it holds the lease.
    pub fn leads(&self) -> bool {
        self.metric("bkv_operator_leader", "") == Some(1.0)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a process");
    }

    /// Waits for its end. None if it still runs after that time.
    pub fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let late = Instant::now() + within;
        loop {
            match self.child.try_wait().expect("a child") {
                None if Instant::now() < late => std::thread::sleep(Duration::from_millis(20)),
                ended => return ended,
            }
        }
    }

    /// Its log.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("the log")
    }

    /// Memory in kB as the kernel counts it: `VmRSS`, `VmHWM`.
    pub fn memory(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status.lines().find_map(|l| l.strip_prefix(what)?.strip_prefix(':')).expect("such a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- the operator logged:\n{}", self.log_text());
        }
        // Kills the guardian before reaping the child. Otherwise the guardian could signal another process that got the child's PID.
        let _ended = self.child.kill();
        let _status = self.guardian.kill();
        let _ended = self.child.wait();
        let _status = self.guardian.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address")
}
