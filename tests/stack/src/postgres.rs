//! A Postgres that accepts only TLS connections with a password, as in a cluster.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bkv_mtls::issue::RoleCa;
use rustix::process::getuid;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tempfile::TempDir;

use crate::chatd::free_port;
use crate::program::Program;

/// Its process; killed when dropped.
pub struct TlsPostgres {
    dir: TempDir,
    /// On 127.0.0.1; its certificate is for `localhost` only.
    pub port: u16,
    process: Program,
}

fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path().join("bin"))
        .filter(|p| p.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop()
}

/// Postgres refuses to run as root: its own user, or nobody.
fn user() -> Option<(u32, u32)> {
    if !getuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = users.lines().find(|l| l.starts_with("postgres:"));
    let id = |l: &str, i| l.split(':').nth(i).and_then(|f| f.parse().ok());
    line.and_then(|l| Some((id(l, 2)?, id(l, 3)?))).or(Some((65534, 65534)))
}

fn own(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    if let Some((uid, gid)) = user() {
        chown(path, Some(uid), Some(gid)).expect("chown");
    }
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").current_dir("/");
    if let Some((uid, gid)) = user() {
        command.uid(uid).gid(gid);
    }
    command
}

impl TlsPostgres {
    /// With a certificate from this authority and this password for the role `bkv`; None if Postgres is not installed.
    pub async fn start(ca: &RoleCa, password: &str) -> Option<Self> {
        let bin = programs()?;
        let dir = tempfile::Builder::new().prefix("bkv-pgtls.").tempdir().expect("a temporary folder");
        own(dir.path(), 0o755);
        let data = dir.path().join("data");
        let made = command(&bin.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args(["-U", "admin", "--auth=trust", "--no-sync", "--no-instructions", "--locale=C.UTF-8"])
            .output()
            .expect("initdb");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let issued = ca.issue_web(&["localhost"], Duration::from_hours(1)).expect("a certificate");
        for (name, text) in [("server.crt", issued.certificate.as_str()), ("server.key", &issued.key)] {
            fs::write(data.join(name), text).expect("write");
            own(&data.join(name), 0o600);
        }
        let rules = "local all all trust\nhostssl all bkv 127.0.0.1/32 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), rules).expect("write");
        let port = free_port();
        let mut server = command(&bin.join("postgres"));
        server.arg("-D").arg(&data).args(["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on", "-c"]);
        server.arg(format!("unix_socket_directories={}", dir.path().display()));
        server.args(["-c", "shared_buffers=16MB", "-c", "max_connections=20", "-p", &port.to_string()]);
        let postgres = Self { dir, port, process: Program::start(server) };
        postgres
            .admin(&format!("CREATE ROLE bkv LOGIN PASSWORD '{password}'; CREATE DATABASE bkv OWNER bkv"))
            .await;
        Some(postgres)
    }

    /// Runs statements as its superuser, over its socket; waits until it is up.
    pub async fn admin(&self, statements: &str) {
        let url =
            format!("postgres:///postgres?host={}&user=admin&port={}", self.dir.path().display(), self.port);
        let pool: PgPool = {
            let mut tries = 0;
            loop {
                match PgPoolOptions::new().max_connections(1).connect(&url).await {
                    Ok(pool) => break pool,
                    Err(e) => assert!(tries < 200, "{e}: {}", self.process.text("err")),
                }
                tries += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        for statement in statements.split("; ") {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
                .execute(&pool)
                .await
                .expect("a statement");
        }
    }

    /// Ends all connections of the role `bkv`.
    pub async fn cut(&self) {
        self.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bkv'").await;
    }
}

/// A mounted Secret as the kubelet makes it: files behind a symbolic link that changes in one step.
pub struct Mounted(PathBuf);

impl Mounted {
    /// With these files.
    pub fn new(at: &Path, files: &[(&str, &str)]) -> Self {
        fs::create_dir_all(at).expect("a folder");
        let mounted = Self(at.to_owned());
        mounted.swap(files);
        for (name, _) in files {
            std::os::unix::fs::symlink(Path::new("..data").join(name), at.join(name)).expect("a link");
        }
        mounted
    }

    /// Replaces all contents in one step.
    pub fn swap(&self, files: &[(&str, &str)]) {
        let name =
            (0..1000).map(|n| format!("..version-{n}")).find(|n| !self.0.join(n).exists()).expect("a name");
        let folder = self.0.join(&name);
        fs::create_dir(&folder).expect("a folder");
        for (file, text) in files {
            fs::write(folder.join(file), text).expect("write");
        }
        std::os::unix::fs::symlink(&name, self.0.join("..data_tmp")).expect("a link");
        fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).expect("swap");
    }

    /// The path at which a program sees a file.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }
}
