//! The database: one row per key and one cursor per shard, both written in one transaction.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bkv_core::account::State;
use bkv_core::event::Event;
use bkv_core::id::Route;
use bkv_wire::proto::outer as o;
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use sqlx::postgres::PgPool;
use sqlx::{Postgres, Row as _, Transaction};
use tokio::time::timeout;

use crate::metrics::Metrics;

/// Time limit of a query for a client. After it the answer is stale.
const ASK: Duration = Duration::from_millis(500);

/// Time limit of a change. A database that takes longer counts as unavailable.
const CHANGE: Duration = Duration::from_secs(5);

/// The key metadata in Postgres. Empty until ChatD has connected.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    pool: Arc<OnceLock<PgPool>>,
    up: Arc<AtomicBool>,
    feeds: Arc<Mutex<Feeds>>,
}

/// How far each shard's feed is followed.
#[derive(Debug)]
struct Feeds {
    started: Instant,
    /// Per shard: the time since when its feed is behind. None if the feed is up to date.
    behind: Vec<Option<Instant>>,
}

impl Default for Feeds {
    fn default() -> Self {
        Self { started: Instant::now(), behind: Vec::new() }
    }
}

/// Runs a change with the time limit `CHANGE`.
pub(super) async fn within<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(CHANGE, work).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

impl Metadata {
    /// Sets the pool. Only the first call has an effect.
    pub(super) fn connected(&self, pool: PgPool) {
        let _ = self.pool.set(pool);
    }

    /// The pool. None until ChatD has connected.
    pub fn pool(&self) -> Option<&PgPool> {
        self.pool.get()
    }

    /// Records whether the database answered. Returns true if that changed.
    pub fn heard(&self, up: bool, metrics: &Metrics) -> bool {
        metrics.postgres_up.set(i64::from(up));
        self.up.swap(up, Ordering::Relaxed) != up
    }

    fn feeds(&self) -> MutexGuard<'_, Feeds> {
        self.feeds.lock()
    }

    /// Sets the number of feeds. None of them is followed yet.
    pub fn shards(&self, shards: u16) {
        let mut feeds = self.feeds();
        let since = Some(feeds.started);
        feeds.behind = vec![since; usize::from(shards)];
    }

    /// Records that the shard's events are stored up to the newest.
    pub fn live(&self, shard: u16) {
        if let Some(behind) = self.feeds().behind.get_mut(usize::from(shard)) {
            *behind = None;
        }
    }

    /// Records that the shard's feed is behind from now on.
    pub fn behind(&self, shard: u16) {
        if let Some(behind) = self.feeds().behind.get_mut(usize::from(shard)) {
            behind.get_or_insert_with(Instant::now);
        }
    }

    /// The longest time for which a shard's feed has been behind.
    pub fn lag(&self) -> Duration {
        let feeds = self.feeds();
        if feeds.behind.is_empty() {
            return feeds.started.elapsed();
        }
        feeds.behind.iter().flatten().map(Instant::elapsed).max().unwrap_or_default()
    }

    /// True if the answer for this route may be old: the database is unavailable, or the feed of the route's shard is behind.
    fn is_stale(&self, route: &Route) -> bool {
        let feeds = self.feeds();
        let followed = u16::try_from(feeds.behind.len())
            .ok()
            .filter(|n| *n > 0)
            .is_some_and(|shards| matches!(feeds.behind.get(usize::from(route.shard(shards).0)), Some(None)));
        !followed || !self.up.load(Ordering::Relaxed)
    }

    /// The key metadata of a route. All fields are null and the answer is stale if the database does not answer in time.
    pub async fn account(&self, route: &Route) -> Known {
        let Some(pool) = self.pool.get() else { return Known::NOTHING };
        let ask =
            sqlx::query("SELECT state, since_ms, tries_left, next_ms, changed_ms FROM keys WHERE route = $1")
                .bind(route.0.as_slice())
                .fetch_optional(pool);
        match timeout(ASK, ask).await {
            Ok(Ok(Some(row))) => {
                let state: String = row.get("state");
                Known {
                    exists: Some(holds_a_key(&state)),
                    state: Some(state),
                    since_ms: row.get("since_ms"),
                    tries_left: Some(row.get("tries_left")),
                    next_allowed_ms: Some(row.get("next_ms")),
                    as_of_ms: Some(row.get("changed_ms")),
                    stale: self.is_stale(route),
                }
            }
            Ok(Ok(None)) => Known {
                exists: Some(false),
                state: Some(State::None.name().into()),
                stale: self.is_stale(route),
                ..Known::NOTHING
            },
            _ => Known::NOTHING,
        }
    }
}

/// The answer to `GET /v1/account`. Unknown fields are null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Known {
    /// True if the account has a key.
    pub exists: Option<bool>,
    /// One of none, live, last-try, locked, destroyed, deleted.
    pub state: Option<String>,
    /// When the key was registered.
    pub since_ms: Option<i64>,
    /// Tries left.
    pub tries_left: Option<i32>,
    /// When the next try is allowed.
    pub next_allowed_ms: Option<i64>,
    /// Time of the event from which the answer comes.
    pub as_of_ms: Option<i64>,
    /// True if the answer may be old: the database is unavailable, or the feed is behind.
    pub stale: bool,
}

impl Known {
    const NOTHING: Self = Self {
        exists: None,
        state: None,
        since_ms: None,
        tries_left: None,
        next_allowed_ms: None,
        as_of_ms: None,
        stale: true,
    };
}

/// True if an account in this state, by its name in the database, has a key.
fn holds_a_key(state: &str) -> bool {
    [State::Live, State::LastTry, State::Locked].iter().any(|s| s.name() == state)
}

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The cursor up to which a shard's feed is stored. 0 if the shard has no rows: after an operator emptied the table, the feed must start with a scan.
pub(super) async fn cursor(pool: &PgPool, shard: u16) -> Result<u64, sqlx::Error> {
    Ok(stored_cursor(pool, shard).await?.unwrap_or(0))
}

async fn stored_cursor(pool: &PgPool, shard: u16) -> Result<Option<u64>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT cursor FROM cursors WHERE shard = $1 AND EXISTS (SELECT 1 FROM keys WHERE keys.shard = $1)",
    )
    .bind(i32::from(shard))
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|r| u64::try_from(r.get::<i64, _>("cursor")).unwrap_or(0)))
}

/// True if the stored cursor is lower than `known`: an operator emptied the database or restored an older copy.
pub(super) async fn set_back(pool: &PgPool, shard: u16, known: u64) -> Result<bool, sqlx::Error> {
    // A shard without accounts can't lose any.
    Ok(known > 0 && stored_cursor(pool, shard).await?.is_none_or(|cursor| cursor < known))
}

/// Deletes a shard's rows before a full feed or a scan writes them again.
pub(super) async fn forget<'e>(
    db: impl sqlx::Executor<'e, Database = Postgres>,
    shard: u16,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM keys WHERE shard = $1").bind(i32::from(shard)).execute(db).await.map(drop)
}

/// Begins a scan. A scan lists every account of the shard, so all its rows are deleted first.
pub(super) async fn start_scan(
    pool: &PgPool,
    shard: u16,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let mut tx = pool.begin().await?;
    forget(&mut *tx, shard).await?;
    Ok(tx)
}

/// Sets the cursor after a scan. It may be lower than the stored one, which the vault did not know.
pub(super) async fn finish_scan(
    tx: &mut Transaction<'_, Postgres>,
    shard: u16,
    cursor: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO cursors (shard, cursor) VALUES ($1, $2)
         ON CONFLICT (shard) DO UPDATE SET cursor = excluded.cursor, updated_at = now()",
    )
    .bind(i32::from(shard))
    .bind(number(cursor))
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// Events of one shard that are stored together. Only the newest of each account is stored, because each event contains the whole metadata of its
/// account.
pub(super) struct Batch {
    shard: u16,
    newest: HashMap<Route, (Event, o::Event)>,
}

impl Batch {
    pub(super) fn new(shard: u16) -> Self {
        Self { shard, newest: HashMap::new() }
    }

    /// Adds an event. Call it in the order of the cursors.
    pub(super) fn add(&mut self, event: Event, frame: o::Event) {
        self.newest.insert(event.route, (event, frame));
    }

    /// Stores all events with one SQL statement. An event that is older than the stored one changes nothing, so storing an event twice is harmless.
    pub(super) async fn store(self, tx: &mut Transaction<'_, Postgres>) -> Result<(), sqlx::Error> {
        let all: Vec<&(Event, o::Event)> = self.newest.values().collect();
        let each = |f: &dyn Fn(&Event) -> i64| all.iter().map(|(e, _)| f(e)).collect::<Vec<i64>>();
        let bytes =
            |f: &dyn Fn(&(Event, o::Event)) -> Vec<u8>| all.iter().map(|e| f(e)).collect::<Vec<Vec<u8>>>();
        sqlx::query(
            "INSERT INTO keys (route, state, generation, tries_left, since_ms, next_ms, changed_ms, cursor, event, slot, signature, shard)
             SELECT *, $12::integer FROM UNNEST($1::bytea[], $2::text[], $3::bigint[], $4::integer[], $5::bigint[], $6::bigint[], $7::bigint[],
               $8::bigint[], $9::bytea[], $10::smallint[], $11::bytea[])
             ON CONFLICT (route) DO UPDATE SET state = excluded.state, generation = excluded.generation, tries_left = excluded.tries_left,
               since_ms = excluded.since_ms, next_ms = excluded.next_ms, changed_ms = excluded.changed_ms,
               shard = excluded.shard, cursor = excluded.cursor, event = excluded.event, slot = excluded.slot, signature = excluded.signature
             WHERE keys.cursor <= excluded.cursor OR keys.shard <> excluded.shard",
        )
        .bind(bytes(&|(e, _)| e.route.0.to_vec()))
        .bind(all.iter().map(|(e, _)| e.state.name()).collect::<Vec<_>>())
        .bind(each(&|e| number(e.generation.0)))
        .bind(all.iter().map(|(e, _)| i32::try_from(e.tries_left).unwrap_or(i32::MAX)).collect::<Vec<_>>())
        .bind(all.iter().map(|(e, _)| e.since.map(|t| number(t.0))).collect::<Vec<_>>())
        .bind(each(&|e| number(e.next_allowed.0)))
        .bind(each(&|e| number(e.at.0)))
        .bind(all.iter().map(|(_, f)| number(f.cursor)).collect::<Vec<_>>())
        .bind(bytes(&|(_, f)| f.event.to_vec()))
        .bind(all.iter().map(|(_, f)| i16::try_from(f.slot).unwrap_or(0)).collect::<Vec<_>>())
        .bind(bytes(&|(_, f)| f.signature.to_vec()))
        .bind(i32::from(self.shard))
        .execute(&mut **tx)
        .await
        .map(|_| ())
    }
}

/// Moves the cursor forward from `known`, in the same transaction as the events. Returns false if the stored cursor is lower than `known`: stored
/// events are missing, and a higher cursor would hide that for ever.
pub(super) async fn advance(
    tx: &mut Transaction<'_, Postgres>,
    shard: u16,
    known: u64,
    cursor: u64,
) -> Result<bool, sqlx::Error> {
    let sql = if known == 0 {
        "INSERT INTO cursors (shard, cursor) VALUES ($1, $2)
         ON CONFLICT (shard) DO UPDATE SET cursor = GREATEST(cursors.cursor, excluded.cursor), updated_at = now()
         WHERE cursors.cursor >= $3"
    } else {
        "UPDATE cursors SET cursor = GREATEST(cursor, $2), updated_at = now() WHERE shard = $1 AND cursor >= $3"
    };
    let done = sqlx::query(sql)
        .bind(i32::from(shard))
        .bind(number(cursor))
        .bind(number(known))
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}
