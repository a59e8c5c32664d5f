//! Follows each shard's feed at its leader and takes it into the database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bkv_core::effect::Event;
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use sqlx::postgres::PgPool;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::store::{self, Metadata};
use crate::metrics::Metrics;
use crate::vaults::{VaultStream, Vaults};

const RETRY: Duration = Duration::from_secs(1);
/// Events in one transaction at most.
const BATCH: usize = 256;

/// Runs until stopped: one task a shard.
pub async fn follow(vaults: Arc<Vaults>, metadata: Metadata, metrics: Metrics, stop: CancellationToken) {
    let shards = loop {
        let shards = vaults.routing().shards();
        if shards > 0 {
            break shards;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(RETRY) => {}
        }
    };
    let followers = (0..shards).map(|shard| follow_shard(&vaults, &metadata, &metrics, shard));
    tokio::select! {
        () = stop.cancelled() => {}
        _ = futures_util::future::join_all(followers) => {}
    }
}

async fn follow_shard(vaults: &Vaults, metadata: &Metadata, metrics: &Metrics, shard: u16) {
    loop {
        if let (Some(pool), Some(link)) = (metadata.pool(), vaults.leader(shard)) {
            match store::cursor(pool, shard).await {
                Ok(after) => {
                    metadata.heard(true, metrics);
                    let subscribe = Body::Subscribe(o::Subscribe { shard: u32::from(shard), after });
                    if let Some(stream) = link.open(subscribe)
                        && let Err(e) = take_in(pool, stream, shard, metrics).await
                    {
                        tracing::warn!(shard, error = %e, "the projection stands still");
                        metadata.heard(false, metrics);
                    }
                }
                Err(e) => {
                    tracing::warn!(shard, error = %e, "the database does not answer");
                    metadata.heard(false, metrics);
                }
            }
        }
        sleep(RETRY).await;
    }
}

/// Until the feed ends here (the leader moved, the link is lost) or the database fails.
async fn take_in(
    pool: &PgPool,
    mut stream: VaultStream,
    shard: u16,
    metrics: &Metrics,
) -> Result<(), sqlx::Error> {
    let mut heard = Instant::now();
    loop {
        // The database is asked now and then even if nothing happens, so that its absence is noticed.
        let Ok(body) = timeout(Duration::from_secs(5), stream.next()).await else {
            sqlx::query("SELECT 1").execute(pool).await?;
            metrics.lag.set(0);
            continue;
        };
        metrics.lag.set(i64::try_from(heard.elapsed().as_secs()).unwrap_or(0).min(5));
        heard = Instant::now();
        match body {
            Some(Body::Event(first)) => {
                let mut tx = pool.begin().await?;
                let mut last = first.cursor;
                take_one(&mut tx, shard, &first).await?;
                // What else is here already shares the transaction.
                for _ in 1..BATCH {
                    match timeout(Duration::ZERO, stream.next()).await {
                        Ok(Some(Body::Event(next))) => {
                            last = next.cursor;
                            take_one(&mut tx, shard, &next).await?;
                        }
                        _ => break,
                    }
                }
                store::advance(&mut tx, shard, last).await?;
                tx.commit().await?;
            }
            Some(Body::ScanPage(page)) => {
                let mut tx = pool.begin().await?;
                for (event, signature) in page.events.iter().zip(&page.signatures) {
                    let frame = o::Event {
                        cursor: page.cursor,
                        event: event.clone(),
                        slot: page.slot,
                        signature: signature.clone(),
                        ..Default::default()
                    };
                    take_one(&mut tx, shard, &frame).await?;
                }
                if page.last {
                    store::advance(&mut tx, shard, page.cursor).await?;
                }
                tx.commit().await?;
            }
            Some(Body::FeedEnd(_)) | None => return Ok(()),
            Some(_) => {}
        }
    }
}

async fn take_one(
    tx: &mut sqlx::Transaction<'_, sqlx::Postgres>,
    shard: u16,
    frame: &o::Event,
) -> Result<(), sqlx::Error> {
    if let Ok(event) = minicbor::decode::<Event>(&frame.event) {
        store::take(tx, shard, frame.cursor, &event, frame).await
    } else {
        // A newer vault's event that this ChatD does not know: the next scan brings the account's state.
        tracing::warn!(shard, cursor = frame.cursor, "an event that does not read");
        Ok(())
    }
}
