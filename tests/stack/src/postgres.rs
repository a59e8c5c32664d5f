//! A Postgres that accepts only TLS connections with a password, as in a cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bkv_local_postgres::LocalPostgres;
use bkv_mtls::issue::WebCa;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tempfile::TempDir;

use crate::chatd::free_port;
use crate::program::Program;

/// The database, stopped when dropped.
pub struct TlsPostgres {
    dir: TempDir,
    /// Its port on 127.0.0.1. The certificate is for `localhost` only.
    pub port: u16,
    process: Program,
}

impl TlsPostgres {
    /// Starts one with a certificate from this authority and this password for the role `bkv`. None if Postgres is not installed.
    pub async fn start(ca: &WebCa, password: &str) -> Option<Self> {
        let postgres = LocalPostgres::installed()?;
        let dir = tempfile::Builder::new().prefix("bkv-pgtls.").tempdir().expect("a temporary folder");
        postgres.own(dir.path(), 0o755).expect("chown");
        let data = dir.path().join("data");
        postgres.init(&data, "admin").expect("a database");
        let issued = ca.issue(&["localhost"], Duration::from_hours(1)).expect("a certificate");
        for (name, text) in [("server.crt", issued.certificate.as_str()), ("server.key", &issued.key)] {
            fs::write(data.join(name), text).expect("write");
            postgres.own(&data.join(name), 0o600).expect("chown");
        }
        let rules = "local all all trust\nhostssl all bkv 127.0.0.1/32 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), rules).expect("write");
        let port = free_port();
        let mut server = postgres.server(&data, dir.path());
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on", "-p", &port.to_string()]);
        let postgres = Self { dir, port, process: Program::start(server) };
        // The server is up when it answers over its socket.
        postgres
            .admin(&format!("CREATE ROLE bkv LOGIN PASSWORD '{password}'; CREATE DATABASE bkv OWNER bkv"))
            .await;
        Some(postgres)
    }

    /// Runs statements as superuser over the Unix socket. Waits until the database accepts connections.
    pub async fn admin(&self, statements: &str) {
        let url =
            format!("postgres:///postgres?host={}&user=admin&port={}", self.dir.path().display(), self.port);
        let until = Instant::now() + Duration::from_secs(30);
        let pool: PgPool = loop {
            match PgPoolOptions::new().max_connections(1).connect(&url).await {
                Ok(pool) => break pool,
                Err(e) => assert!(Instant::now() < until, "{e}: {}", self.process.text("err")),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
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
    /// Mounts these files.
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

    /// The path of a file for programs.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }
}
