//! Debian's Postgres as a child on a Unix socket, as a user who is not root.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, getuid};

use super::layout::Layout;
use super::process::Process;
use crate::exit::{Exit, Failure, Outcome};

fn failed(what: &str, e: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Unexpected, format!("postgres: {what}: {e}"))
        .remedy("`bkv dev up --no-postgres` goes without it.")
}

/// The newest version that is installed.
fn programs() -> Outcome<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path().join("bin"))
        .filter(|p| p.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop().ok_or_else(|| {
        Failure::new(Exit::NoInput, "Postgres is not installed")
            .remedy("apt-get install postgresql, or `bkv dev up --no-postgres`.")
    })
}

/// Postgres refuses to run as root: (uid, gid) of `postgres`, or of nobody.
fn user() -> Option<(u32, u32)> {
    if !getuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of = |name: &str| {
        let line = users.lines().find(|l| l.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or(Some((65534, 65534)))
}

fn own(path: &Path, mode: u32) -> Outcome {
    fs::create_dir_all(path).map_err(|e| failed("folder", e))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|e| failed("folder", e))?;
    if let Some((uid, gid)) = user() {
        chown(path, Some(uid), Some(gid)).map_err(|e| failed("folder", e))?;
    }
    Ok(())
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").current_dir("/");
    if let Some((uid, gid)) = user() {
        command.uid(uid).gid(gid);
    }
    command
}

fn process(layout: &Layout) -> Process {
    Process::new(&layout.postgres(), "postgres")
}

pub(crate) fn pid(layout: &Layout) -> Option<i32> {
    process(layout).pid().map(|p| p.as_raw_nonzero().get())
}

/// Makes the database at first, then starts it.
pub(crate) fn start(layout: &Layout) -> Outcome {
    if process(layout).pid().is_some() {
        return Ok(());
    }
    let bin = programs()?;
    let (data, socket) = (layout.postgres().join("data"), layout.socket());
    fs::create_dir_all(layout.postgres()).map_err(|e| failed("folder", e))?;
    own(&socket, 0o700)?;
    if !data.join("PG_VERSION").exists() {
        own(&data, 0o700)?;
        let made = command(&bin.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args([
                "-U",
                "bkv",
                "--auth=trust",
                "--no-sync",
                "--no-instructions",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .map_err(|e| failed("initdb", e))?;
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr);
            return Err(failed("initdb", why.trim()).remedy(
                "Must every folder above be passable for the database's user? --no-postgres goes without it.",
            ));
        }
    }
    // A killed postmaster leaves its pid in two files. The pid may belong to another process by now, or to a zombie that is not reaped yet.
    for left in [data.join("postmaster.pid"), socket.join(".s.PGSQL.5432.lock")] {
        let _ = fs::remove_file(left);
    }
    let mut server = command(&bin.join("postgres"));
    server.arg("-D").arg(&data).args([
        "-c",
        "listen_addresses=",
        "-c",
        "max_connections=20",
        "-c",
        "shared_buffers=16MB",
    ]);
    server.arg("-c").arg(format!("unix_socket_directories={}", socket.display()));
    process(layout).start(server)
}

/// A fast shutdown (SIGINT), as Postgres calls it.
pub(crate) fn stop(layout: &Layout) {
    let process = process(layout);
    process.signal(Signal::INT);
    process.stop(Duration::from_secs(5));
    let socket = layout.socket();
    if !socket.starts_with(&layout.dir) {
        let _ = fs::remove_dir_all(socket);
    }
}
