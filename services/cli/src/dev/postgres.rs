//! Debian's Postgres as a child on a Unix socket, as a user who is not root.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bkv_local_postgres::{LocalPostgres, LocalPostgresError};
use rustix::process::Signal;
use thiserror_ext::AsReport as _;

use super::layout::Layout;
use super::process::Process;
use crate::exit::{Exit, Failure, Outcome};

const WITHOUT: &str = "`bkv dev up --no-postgres` goes without it.";

fn failed(e: &LocalPostgresError) -> Failure {
    let remedy = match e {
        LocalPostgresError::Init(_) => {
            "Must every folder above be passable for the database's user? --no-postgres goes without it."
        }
        LocalPostgresError::Owner { .. } | LocalPostgresError::Start(_) => WITHOUT,
    };
    Failure::new(Exit::Unexpected, format!("postgres: {}", e.as_report())).remedy(remedy)
}

fn folder(path: &Path) -> Outcome {
    fs::create_dir_all(path).map_err(|e| {
        Failure::new(Exit::Unexpected, format!("postgres: {}: {e}", path.display())).remedy(WITHOUT)
    })
}

pub(super) fn process(layout: &Layout) -> Process {
    Process::new(&layout.postgres(), "postgres")
}

/// Makes the database at first, then starts it.
pub(crate) fn start(layout: &Layout) -> Outcome {
    if process(layout).pid().is_some() {
        return Ok(());
    }
    let postgres = LocalPostgres::installed().ok_or_else(|| {
        Failure::new(Exit::NoInput, "Postgres is not installed")
            .remedy("apt-get install postgresql, or `bkv dev up --no-postgres`.")
    })?;
    let (data, socket) = (layout.postgres().join("data"), layout.socket());
    folder(&layout.postgres())?;
    folder(&socket)?;
    postgres.own(&socket, 0o700).map_err(|e| failed(&e))?;
    if !data.join("PG_VERSION").exists() {
        postgres.init(&data, "bkv").map_err(|e| failed(&e))?;
    }
    // A killed postmaster leaves its pid in two files. The pid may belong to another process by now, or to a zombie that is not reaped yet.
    for left in [data.join("postmaster.pid"), socket.join(".s.PGSQL.5432.lock")] {
        let _ = fs::remove_file(left);
    }
    let mut server = postgres.server(&data, &socket);
    server.args(["-c", "listen_addresses="]);
    process(layout).start(server)
}

/// A fast shutdown (SIGINT), as Postgres calls it.
pub(crate) fn stop(layout: &Layout) -> Outcome<bool> {
    let process = process(layout);
    process.signal(Signal::INT)?;
    let ran = process.stop(Duration::from_secs(5))?;
    let socket = layout.socket();
    if !socket.starts_with(&layout.dir) {
        let _ = fs::remove_dir_all(socket);
    }
    Ok(ran)
}
