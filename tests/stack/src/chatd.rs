//! A second ChatD on the same fleet, with the test's own configuration.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use toml::Table;

use crate::raw::Endpoint;
use crate::{Account, Fleet, bin_dir, wait};

/// A free port. It lies below the ports that Linux gives to outgoing connections and to `bind(0)`, and below those of `bkv dev`: no other program takes it before
/// the one that it is for. None is given twice before all are.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 5_000;
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 500).expect("below 500") * 10;
    (0..COUNT)
        .map(|_| FIRST + (begin + GIVEN.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// The process, killed when dropped.
pub struct Chatd {
    child: Child,
    /// Public port.
    pub port: u16,
    health: u16,
    /// Its profile for `bkv`.
    pub profile: PathBuf,
    ca: PathBuf,
    config: PathBuf,
}

impl Chatd {
    /// Starts a ChatD beside the fleet's own, with that configuration changed by `edit`. Waits until it is ready.
    #[track_caller]
    pub fn start(fleet: &Fleet, name: &str, edit: impl FnOnce(&mut Table)) -> Self {
        Self::start_in(fleet, name, &[], edit)
    }

    /// Starts one with further environment variables.
    #[track_caller]
    pub fn start_in(
        fleet: &Fleet,
        name: &str,
        env: &[(&str, &OsStr)],
        edit: impl FnOnce(&mut Table),
    ) -> Self {
        let folder = fleet.dir().join("chatd");
        let text = fs::read_to_string(folder.join("chatd.toml")).expect("chatd.toml");
        let mut table: Table = text.parse().expect("TOML");
        let (port, health) = (free_port(), free_port());
        section(&mut table, "listen").insert("public".into(), format!("127.0.0.1:{port}").into());
        section(&mut table, "listen").insert("health".into(), format!("127.0.0.1:{health}").into());
        edit(&mut table);
        let config = folder.join(format!("{name}.toml"));
        fs::write(&config, table.to_string()).expect("write the configuration");
        let profile = fleet.dir().join(format!("fleet-{name}.toml"));
        let text = format!(
            "chatd = \"https://127.0.0.1:{port}\"\nchatd_ca = \"chatd/web-ca.crt\"\nroot = \"root.bin\"\n"
        );
        fs::write(&profile, text).expect("write the profile");
        let child = spawn(&config, env);
        let mut chatd = Self { child, port, health, profile, ca: folder.join("web-ca.crt"), config };
        chatd.wait_ready();
        chatd
    }

    #[track_caller]
    fn wait_ready(&mut self) {
        let health = self.health;
        wait("the second ChatD", Duration::from_secs(20), || {
            http(health, "/readyz").starts_with("HTTP/1.1 200")
        });
        assert!(self.child.try_wait().expect("its state").is_none(), "it ended: {}", self.log());
    }

    /// Starts the program again on the same ports.
    #[track_caller]
    pub fn again(&mut self) {
        self.child = spawn(&self.config, &[]);
        self.wait_ready();
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.config.with_extension("log")).unwrap_or_default()
    }

    /// Its endpoint.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(&self.ca, self.port)
    }

    /// The account, from now on through this ChatD.
    pub fn serves<'a>(&self, mut account: Account<'a>) -> Account<'a> {
        account.profile.clone_from(&self.profile);
        account
    }

    /// The value of a metric, by its name with its labels.
    pub fn metric(&self, name: &str) -> i64 {
        metric(self.health, name)
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, Signal::TERM).expect("a signal");
    }

    /// Waits until it ends and returns its exit code.
    #[track_caller]
    pub fn ended(&mut self) -> i32 {
        let mut code = None;
        wait("the end of ChatD", Duration::from_secs(20), || {
            code = self.child.try_wait().expect("its state");
            code.is_some()
        });
        code.and_then(|c| c.code()).unwrap_or(-1)
    }
}

impl Drop for Chatd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().rev().take(15).collect();
            eprintln!(
                "--- {}\n{}",
                self.config.display(),
                lines.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
    }
}

fn spawn(config: &std::path::Path, env: &[(&str, &OsStr)]) -> Child {
    let log =
        fs::File::options().append(true).create(true).open(config.with_extension("log")).expect("a log");
    Command::new(bin_dir().join("bkv-chatd"))
        .arg("--config")
        .arg(config)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("bkv-chatd starts")
}

/// A section of the configuration. Creates it if it is missing.
pub fn section<'a>(table: &'a mut Table, name: &str) -> &'a mut Table {
    let entry = table.entry(name).or_insert_with(|| Table::new().into());
    entry.as_table_mut().expect("a section")
}

/// `GET` over plain HTTP on a health port. Empty without an answer.
pub fn http(port: u16, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let _ =
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// A metric on a health port, or -1 without it.
pub fn metric(port: u16, name: &str) -> i64 {
    let text = http(port, "/metrics");
    let line = text.lines().find_map(|l| l.strip_prefix(name).filter(|rest| rest.starts_with(' ')));
    line.and_then(|v| v.trim().parse().ok()).unwrap_or(-1)
}
