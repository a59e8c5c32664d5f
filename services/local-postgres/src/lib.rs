//! Debian's Postgres on one machine, for `bkv dev` and for tests: finds the programs, makes a database, and gives the command of the server. As root it runs
//! everything as an unprivileged user, because Postgres refuses to run as root. The caller starts and stops the server.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::getuid;

/// The reason why there is no database.
#[derive(Debug, thiserror::Error)]
pub enum LocalPostgresError {
    /// A folder or file could not be given to Postgres' user.
    #[error("{}", path.display())]
    Owner {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// `initdb` could not be started.
    #[error("initdb")]
    Start(#[from] io::Error),
    /// `initdb` failed.
    #[error("initdb: {0}")]
    Init(String),
}

/// An installation of Postgres.
#[derive(Debug, Clone)]
pub struct LocalPostgres {
    /// The folder with `initdb` and `postgres`.
    programs: PathBuf,
    /// User and group id of the processes. None: those of this process.
    user: Option<(u32, u32)>,
}

impl LocalPostgres {
    /// The newest version that Debian's packages installed.
    pub fn installed() -> Option<Self> {
        let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path().join("bin"))
            .filter(|p| p.join("initdb").is_file())
            .collect();
        found.sort();
        Some(Self { programs: found.pop()?, user: unprivileged() })
    }

    /// Gives a file or folder to the user of the processes.
    pub fn own(&self, path: &Path, mode: u32) -> Result<(), LocalPostgresError> {
        fs::set_permissions(path, Permissions::from_mode(mode))
            .and_then(|()| self.user.map_or(Ok(()), |(uid, gid)| chown(path, Some(uid), Some(gid))))
            .map_err(|source| LocalPostgresError::Owner { path: path.to_owned(), source })
    }

    /// Makes a database in `data`, a folder that this creates. The superuser needs no password on the Unix socket.
    pub fn init(&self, data: &Path, superuser: &str) -> Result<(), LocalPostgresError> {
        fs::create_dir_all(data)?;
        self.own(data, 0o700)?;
        let made = self
            .command("initdb")
            .arg("-D")
            .arg(data)
            .args(["-U", superuser, "--auth=trust", "--no-sync", "--no-instructions"])
            .args(["-E", "UTF8", "--locale=C.UTF-8"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()?;
        if made.status.success() {
            return Ok(());
        }
        Err(LocalPostgresError::Init(String::from_utf8_lossy(&made.stderr).trim().to_owned()))
    }

    /// The server's command: a small server with its socket in `socket`. The caller adds `-c` options, such as an address.
    pub fn server(&self, data: &Path, socket: &Path) -> Command {
        let mut server = self.command("postgres");
        server.arg("-D").arg(data).args(["-c", "max_connections=20", "-c", "shared_buffers=16MB"]);
        server.arg("-c").arg(format!("unix_socket_directories={}", socket.display()));
        server
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").current_dir("/");
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// The user `postgres`, or nobody if there is none. None unless this process is root.
fn unprivileged() -> Option<(u32, u32)> {
    if !getuid().is_root() {
        return None;
    }
    Some(uzers::get_user_by_name("postgres").map_or((65534, 65534), |u| (u.uid(), u.primary_group_id())))
}
