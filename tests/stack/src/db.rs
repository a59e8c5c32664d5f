//! The fleet's Postgres: direct access for tests, and signals that stop or kill it.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Row as _};

use crate::Fleet;

impl Fleet {
    /// The test's own connection.
    pub async fn database(&self) -> PgPool {
        let url = fs::read_to_string(self.dir().join("chatd/postgres.url")).expect("postgres.url");
        PgPoolOptions::new().max_connections(1).connect(url.trim()).await.expect("the database")
    }

    /// Sends a signal to the postmaster and all its children.
    pub fn signal_postgres(&self, signal: Signal) {
        let status = self.dev(&["status"], &[]).expect(0).json;
        let postmaster = status.pointer("/postgres/pid").and_then(Value::as_i64).expect("a running database");
        let send = |pid: i64, signal| {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, signal);
            }
        };
        // A stopped postmaster starts no further child while its children are listed.
        send(postmaster, Signal::STOP);
        let children = children(postmaster);
        for pid in children.into_iter().chain([postmaster]) {
            send(pid, signal);
        }
    }
}

fn children(parent: i64) -> Vec<i64> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i64>().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        if after_name.split(' ').nth(1).and_then(|p| p.parse().ok()) == Some(parent) {
            found.push(pid);
        }
    }
    found
}

/// Every row of every table, as text.
pub async fn dump(pool: &PgPool) -> String {
    let tables = sqlx::query("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
        .fetch_all(pool)
        .await
        .expect("tables");
    let mut text = String::new();
    for table in tables {
        let name: String = table.get(0);
        let rows = sqlx::query(AssertSqlSafe(format!("SELECT t::text FROM \"{name}\" t")))
            .fetch_all(pool)
            .await
            .expect("rows");
        for row in rows {
            text.extend([name.as_str(), ": ", &row.get::<String, _>(0), "\n"]);
        }
    }
    text
}

/// Runs a statement and returns the number of rows that it changed.
pub async fn run(pool: &PgPool, statement: &str) -> u64 {
    let done = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(pool).await;
    done.unwrap_or_else(|e| panic!("{statement}: {e}")).rows_affected()
}
