//! A local fleet of real processes for tests, and the `bkv` command as a person would type it.
//!
//! The programs come from `BKV_BIN_DIR`, or from the folder beside the test's own binary (`make test` builds them first).
#![forbid(unsafe_code)]
// This crate is test support: a failed expectation is how it reports.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::indexing_slicing
)]

pub mod admin;
pub mod canary;
pub mod folder;
pub mod packet_capture;
pub mod pods;
pub mod postgres;
pub mod program;
pub mod refusal;
pub mod terminal;

pub mod chatd;
pub mod db;
pub mod issuer;
pub mod port_probe;
pub mod raw;
pub mod relay_proxy;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The right password of every account that a test makes.
pub const RIGHT: &str = "quiet otter paints the north window";

/// The result of a `bkv` command.
#[derive(Debug)]
pub struct Answer {
    /// Exit code.
    pub code: i32,
    /// The JSON object that it printed, or null.
    pub json: Value,
    /// Standard error.
    pub stderr: String,
}

impl Answer {
    #[allow(clippy::return_self_not_must_use)] // often the last call of a statement
    /// Fails the test unless the command ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "answer: {} stderr: {}", self.json, self.stderr);
        self
    }
}

/// A running fleet in its own folder, stopped and removed when dropped.
pub struct Fleet {
    dir: TempDir,
}

/// The folder with `bkv`, `bkv-vault` and `bkv-chatd`.
pub fn bin_dir() -> PathBuf {
    std::env::var_os("BKV_BIN_DIR").map_or_else(
        || {
            let exe = std::env::current_exe().expect("the test's own path");
            exe.parent().and_then(Path::parent).expect("target/<profile>/deps").to_owned()
        },
        PathBuf::from,
    )
}

/// Runs `bkv --json` with these arguments.
#[track_caller]
pub fn bkv<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Answer {
    let program = bin_dir().join("bkv");
    assert!(
        program.exists(),
        "{} is not built: run `make test`, or `cargo build --workspace --bins` first",
        program.display()
    );
    let out =
        Command::new(program).arg("--json").args(args).env_remove("BKV_FLEET").output().expect("bkv starts");
    Answer {
        code: out.status.code().unwrap_or(-1),
        json: serde_json::from_slice(&out.stdout).unwrap_or(Value::Null),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

impl Fleet {
    /// Three regions, ChatD and Postgres.
    #[track_caller]
    pub fn up() -> Self {
        Self::with(&[])
    }

    /// A fleet with further options of `bkv dev up`.
    #[track_caller]
    pub fn with(options: &[&str]) -> Self {
        let fleet = Self { dir: Self::folder() };
        fleet.dev(&["up"], options).expect(0);
        fleet
    }

    fn folder() -> TempDir {
        let dir = tempfile::Builder::new().prefix("bkv-stack.").tempdir().expect("a temporary folder");
        // The database runs as another user and must reach its folder.
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
        dir
    }

    /// `plan.json`, with the port of each program.
    pub fn plan(&self) -> Value {
        let text = fs::read(self.dir().join("plan.json")).expect("plan.json");
        serde_json::from_slice(&text).expect("plan.json is JSON")
    }

    /// A port of a region: `peer`, `relay`, `admin` or `health`.
    #[track_caller]
    pub fn port(&self, region: &str, which: &str) -> u16 {
        let plan = self.plan();
        let regions = plan.get("regions").and_then(Value::as_array).cloned().unwrap_or_default();
        let found = regions.iter().find(|r| r.get("name").and_then(Value::as_str) == Some(region));
        let port = found.and_then(|r| r.get(which)).and_then(Value::as_u64).expect("a port in plan.json");
        u16::try_from(port).expect("a port")
    }

    /// The fleet's folder.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().join("stack")
    }

    /// A path for a test's own files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `bkv dev …` on this fleet.
    #[track_caller]
    pub fn dev(&self, command: &[&str], options: &[&str]) -> Answer {
        let dir = self.dir();
        let mut args: Vec<&str> = vec!["dev"];
        args.extend_from_slice(command);
        args.extend_from_slice(&["--dir", dir.to_str().expect("UTF-8 path")]);
        args.extend_from_slice(options);
        bkv(args)
    }

    /// Stops, kills, pauses, resumes or starts a region.
    #[track_caller]
    pub fn region(&self, verb: &str, region: &str) {
        self.dev(&["region", verb, region], &[]).expect(0);
    }

    /// Starts a region and waits until it serves again.
    #[track_caller]
    pub fn start(&self, region: &str) {
        self.region("start", region);
        self.wait_ready(3);
    }

    /// Names of the regions.
    pub fn regions(&self) -> Vec<String> {
        let status = self.dev(&["status"], &[]).expect(0).json;
        let regions = status.get("regions").and_then(Value::as_array).cloned().unwrap_or_default();
        regions.iter().filter_map(|r| r.get("name").and_then(Value::as_str).map(str::to_owned)).collect()
    }

    /// Waits until this many regions report that they are ready.
    #[track_caller]
    pub fn wait_ready(&self, count: usize) {
        wait(&format!("{count} ready regions"), Duration::from_secs(30), || {
            let status = self.dev(&["status"], &[]).json;
            let regions = status.get("regions").and_then(Value::as_array).cloned().unwrap_or_default();
            regions.iter().filter(|r| r.get("ready") == Some(&Value::Bool(true))).count() >= count
        });
    }

    /// An account with fresh tokens, not registered yet.
    #[track_caller]
    pub fn account(&self, subject: &str) -> Account<'_> {
        let tokens = self.dev(&["token", subject], &[]).expect(0).json;
        let token = self.path(&format!("{subject}.token"));
        fs::write(&token, tokens.to_string()).expect("write the token");
        Account { fleet: self, subject: subject.to_owned(), token, profile: self.dir().join("fleet.toml") }
    }

    /// An account that is registered under [`RIGHT`].
    #[track_caller]
    pub fn registered(&self, subject: &str) -> Account<'_> {
        let account = self.account(subject);
        account.run(&["register"], "home", Some(RIGHT)).expect(0);
        account
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A failed test shows the programs' last log lines.
            for name in [
                "regions/eu-west/log",
                "regions/us-east/log",
                "regions/ap-south/log",
                "chatd/log",
                "postgres/log",
            ] {
                let text = fs::read_to_string(self.dir().join(name)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().rev().take(15).collect();
                eprintln!("--- {name}\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
        }
        let _ = self.dev(&["down"], &[]);
    }
}

/// An account with tokens. Each device is a state folder with a name.
pub struct Account<'a> {
    fleet: &'a Fleet,
    /// Its subject at the issuer.
    pub subject: String,
    /// The file with its tokens.
    pub token: PathBuf,
    /// The profile that it uses. A second ChatD has its own profile.
    pub profile: PathBuf,
}

impl Account<'_> {
    /// Runs an online command as this account on a device, with a password if one is needed.
    #[track_caller]
    pub fn run(&self, args: &[&str], device: &str, password: Option<&str>) -> Answer {
        let mut all = self.args(args, device);
        let path = |p: PathBuf| p.to_str().expect("UTF-8 path").to_owned();
        if let Some(p) = password {
            let file = self.fleet.path(&format!("{}-{device}.password", self.subject));
            fs::write(&file, p).expect("write the password");
            all.extend(["--password-file".into(), path(file)]);
        }
        bkv(all)
    }

    /// The arguments of an online command as this account on a device, without a password.
    pub fn args(&self, args: &[&str], device: &str) -> Vec<String> {
        let path = |p: PathBuf| p.to_str().expect("UTF-8 path").to_owned();
        let mut all: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        all.extend(["--fleet".into(), path(self.profile.clone())]);
        all.extend(["--token".into(), path(self.token.clone())]);
        all.extend(["--state".into(), path(self.state(device))]);
        all
    }

    /// The state folder of one of its devices.
    pub fn state(&self, device: &str) -> PathBuf {
        self.fleet.path(&format!("{}-{device}", self.subject))
    }

    /// Recovers on a fresh device.
    #[track_caller]
    pub fn recover(&self, device: &str, password: &str) -> Answer {
        self.run(&["recover", "--yes"], device, Some(password))
    }

    /// The tries left in the status that the vaults sign.
    #[track_caller]
    pub fn tries_left(&self) -> u64 {
        let status = self.run(&["status"], "asker", None).expect(0).json;
        status.get("tries_left").and_then(Value::as_u64).expect("tries_left in status")
    }
}

/// Waits for a condition, with a deadline. The pause between two looks grows from 1 ms to 50 ms, so that a short-lived condition is seen.
#[track_caller]
pub fn wait(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    while !condition() {
        assert!(Instant::now() < until, "waited {patience:?} for {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// All regular files below a folder.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found
}

/// Whether `hay` contains `needle`.
pub fn contains(hay: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && hay.windows(needle.len()).any(|w| w == needle)
}
