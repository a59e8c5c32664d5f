//! The database: one row a key, one cursor a shard, written in one transaction.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bkv_core::account::State;
use bkv_core::effect::Event;
use bkv_core::id::Route;
use bkv_wire::proto::outer as o;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Postgres, Row as _, Transaction};
use tokio::time::timeout;

use crate::metrics::Metrics;

/// A question to the database may take this long; after that the answer is stale.
const ASK: Duration = Duration::from_millis(500);

/// What Postgres knows; perhaps nothing.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    pool: Arc<OnceLock<PgPool>>,
    up: Arc<AtomicBool>,
}

/// The pool, migrated. Waits for the database as long as it takes.
pub async fn connect(url_file: &Path, metadata: &Metadata, metrics: &Metrics) {
    loop {
        match attempt(url_file).await {
            Ok(pool) => {
                let _ = metadata.pool.set(pool);
                metadata.up.store(true, Ordering::Relaxed);
                metrics.postgres_up.set(1);
                return;
            }
            Err(e) => {
                tracing::warn!(error = %e, "no database yet: answers about accounts are stale");
                metrics.postgres_up.set(0);
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("postgres.url_file: {0}")]
    File(std::io::Error),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error("migrations: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

async fn attempt(url_file: &Path) -> Result<PgPool, ConnectError> {
    let url = std::fs::read_to_string(url_file).map_err(ConnectError::File)?;
    let options: PgConnectOptions = url.trim().parse()?;
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(2))
        .connect_with(options.application_name("bkv-chatd"))
        .await?;
    // sqlx takes an advisory lock, so that several ChatDs migrate one after the other.
    sqlx::migrate!("./migrations").run(&pool).await?;
    Ok(pool)
}

impl Metadata {
    /// Once there is one.
    pub fn pool(&self) -> Option<&PgPool> {
        self.pool.get()
    }

    /// Whether the last question was answered.
    pub fn heard(&self, up: bool, metrics: &Metrics) {
        self.up.store(up, Ordering::Relaxed);
        metrics.postgres_up.set(i64::from(up));
    }

    /// What is known of a route. Never fails: what can't be asked is stale.
    pub async fn account(&self, route: &Route) -> Value {
        let stale = json!({ "exists": null, "state": null, "since_ms": null, "tries_left": null, "next_allowed_ms": null,
                            "manifest_sequence": null, "as_of_ms": null, "stale": true });
        let Some(pool) = self.pool.get() else { return stale };
        let ask = sqlx::query(
            "SELECT state, since_ms, tries_left, next_ms, manifest, changed_ms FROM keys WHERE route = $1",
        )
        .bind(route.0.as_slice())
        .fetch_optional(pool);
        match timeout(ASK, ask).await {
            Ok(Ok(Some(row))) => json!({
                "exists": matches!(row.get::<String, _>("state").as_str(), "live" | "last-try" | "locked"),
                "state": row.get::<String, _>("state"),
                "since_ms": row.get::<Option<i64>, _>("since_ms"),
                "tries_left": row.get::<i32, _>("tries_left"),
                "next_allowed_ms": row.get::<i64, _>("next_ms"),
                "manifest_sequence": row.get::<Option<i64>, _>("manifest"),
                "as_of_ms": row.get::<i64, _>("changed_ms"),
                "stale": !self.up.load(Ordering::Relaxed),
            }),
            Ok(Ok(None)) => {
                json!({ "exists": false, "state": "none", "since_ms": null, "tries_left": null, "next_allowed_ms": null,
                                    "manifest_sequence": null, "as_of_ms": null, "stale": !self.up.load(Ordering::Relaxed) })
            }
            _ => stale,
        }
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::None => "none",
        State::Live => "live",
        State::LastTry => "last-try",
        State::Locked => "locked",
        State::Destroyed => "destroyed",
        State::Deleted => "deleted",
    }
}

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The cursor that a shard's feed has been taken in to.
pub(super) async fn cursor(pool: &PgPool, shard: u16) -> Result<u64, sqlx::Error> {
    let row = sqlx::query("SELECT cursor FROM cursors WHERE shard = $1")
        .bind(i32::from(shard))
        .fetch_optional(pool)
        .await?;
    Ok(row.map_or(0, |r| u64::try_from(r.get::<i64, _>("cursor")).unwrap_or(0)))
}

/// One event. An older one than what is there changes nothing: taking an event in twice is harmless.
pub(super) async fn take(
    tx: &mut Transaction<'_, Postgres>,
    shard: u16,
    cursor: u64,
    event: &Event,
    frame: &o::Event,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO keys (route, state, generation, tries_left, since_ms, next_ms, manifest, changed_ms, shard, cursor, event, slot, signature)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (route) DO UPDATE SET state = excluded.state, generation = excluded.generation, tries_left = excluded.tries_left,
           since_ms = excluded.since_ms, next_ms = excluded.next_ms, manifest = excluded.manifest, changed_ms = excluded.changed_ms,
           shard = excluded.shard, cursor = excluded.cursor, event = excluded.event, slot = excluded.slot, signature = excluded.signature
         WHERE keys.cursor <= excluded.cursor",
    )
    .bind(event.route.0.as_slice())
    .bind(word(event.state))
    .bind(number(event.generation.0))
    .bind(i32::try_from(event.tries_left).unwrap_or(i32::MAX))
    .bind(event.since.map(|t| number(t.0)))
    .bind(number(event.next_allowed.0))
    .bind(event.manifest.map(|m| number(m.sequence)))
    .bind(number(event.at.0))
    .bind(i32::from(shard))
    .bind(number(cursor))
    .bind(&frame.event[..])
    .bind(i16::try_from(frame.slot).unwrap_or(0))
    .bind(&frame.signature[..])
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// Moves the cursor, in the same transaction as what it stands for.
pub(super) async fn advance(
    tx: &mut Transaction<'_, Postgres>,
    shard: u16,
    cursor: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO cursors (shard, cursor) VALUES ($1, $2)
         ON CONFLICT (shard) DO UPDATE SET cursor = GREATEST(cursors.cursor, excluded.cursor), updated_at = now()",
    )
    .bind(i32::from(shard))
    .bind(number(cursor))
    .execute(&mut **tx)
    .await
    .map(|_| ())
}
