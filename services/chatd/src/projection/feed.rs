//! Follows each shard's feed at its leader and stores the events in the database.

use std::sync::Arc;
use std::time::Duration;

use bkv_core::event::Event;
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use sqlx::postgres::PgPool;
use sqlx::{Postgres, Transaction};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::store::{self, Metadata, within};
use crate::metrics::Metrics;
use crate::vaults::{VaultStream, Vaults};

const RETRY: Duration = Duration::from_secs(1);
/// Period of the check for an unavailable database or a restored older copy, while no events arrive.
const LOOK: Duration = Duration::from_secs(5);
/// Most events in one transaction.
const BATCH: u32 = 256;
/// Pause between two transactions of one feed. Under load each transaction then stores many events, but only the newest of each account.
const GATHER: Duration = Duration::from_millis(50);

/// Follows all feeds until `stop`.
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
    metadata.shards(shards);
    let followers = (0..shards).map(|shard| follow_shard(&vaults, &metadata, &metrics, shard));
    tokio::select! {
        () = stop.cancelled() => {}
        _ = futures_util::future::join_all(followers) => {}
    }
}

async fn follow_shard(vaults: &Vaults, metadata: &Metadata, metrics: &Metrics, shard: u16) {
    loop {
        if let (Some(pool), Some(link)) = (metadata.pool(), vaults.leaders(shard).into_iter().next()) {
            let end = async {
                let after = within(store::cursor(pool, shard)).await?;
                metadata.heard(true, metrics);
                let subscribe = Body::Subscribe(o::Subscribe { shard: u32::from(shard), after });
                match link.open(subscribe) {
                    Some(stream) => store_feed(pool, metadata, stream, shard, after).await,
                    None => Ok(()),
                }
            };
            let end: Result<(), sqlx::Error> = end.await;
            metadata.behind(shard);
            if let Err(e) = end
                && metadata.heard(false, metrics)
            {
                tracing::warn!(shard, error = %e, "the database does not answer; answers about accounts are stale");
            }
        }
        sleep(RETRY).await;
    }
}

/// Runs until the feed ends (the leader moved or the link is lost), the database fails, or a restored older copy of it needs a scan.
async fn store_feed(
    pool: &PgPool,
    metadata: &Metadata,
    mut stream: VaultStream,
    shard: u16,
    mut known: u64,
) -> Result<(), sqlx::Error> {
    // A feed from the start replaces the shard's rows, even rows with a higher cursor.
    let mut anew = known == 0;
    let mut caught_up = false;
    // A scan replaces the shard's rows in one transaction, so no reader sees half of it.
    let mut scan: Option<Transaction<'_, Postgres>> = None;
    loop {
        let Ok(body) = timeout(LOOK, stream.next()).await else {
            // A vault that claims the shard and sends nothing must not keep the answers stale: subscribe again, at another one that claims it.
            if scan.is_some() || !caught_up || within(store::set_back(pool, shard, known)).await? {
                return Ok(());
            }
            continue;
        };
        match body {
            Some(Body::Event(first)) if scan.is_none() => {
                // Mark the shard stale before writing. If Postgres is down, this batch is not stored yet, and answers read right after Postgres
                // returns would miss it.
                metadata.behind(shard);
                match within(take_batch(pool, &mut stream, shard, known, anew, first)).await? {
                    Some((last, frames)) => {
                        (known, anew) = (last, false);
                        credit(&stream, frames);
                    }
                    None => return Ok(()),
                }
                if caught_up && stream.is_quiet() {
                    metadata.live(shard);
                }
                // Events that arrive meanwhile share the next transaction.
                sleep(GATHER).await;
            }
            // The vault marks the newest event with an empty last page.
            Some(Body::ScanPage(page))
                if scan.is_none() && page.last && page.events.is_empty() && page.cursor == known =>
            {
                if std::mem::take(&mut anew) {
                    within(store::forget(pool, shard)).await?;
                }
                caught_up = true;
                metadata.live(shard);
                credit(&stream, 1);
            }
            Some(Body::ScanPage(page)) => {
                let mut tx = match scan.take() {
                    Some(tx) => tx,
                    None => within(store::start_scan(pool, shard)).await?,
                };
                within(take_page(&mut tx, shard, &page)).await?;
                credit(&stream, 1);
                if page.last {
                    within(async {
                        store::finish_scan(&mut tx, shard, page.cursor).await?;
                        tx.commit().await
                    })
                    .await?;
                    (known, anew) = (page.cursor, false);
                } else {
                    scan = Some(tx);
                }
            }
            Some(Body::Event(_) | Body::FeedEnd(_)) | None => return Ok(()),
            Some(_) => {}
        }
    }
}

/// Allows the vault to send more frames.
fn credit(stream: &VaultStream, frames: u32) {
    stream.send(Body::FeedCredit(o::FeedCredit { frames }));
}

/// Stores one event, and the events that have already arrived, in one transaction. Returns the last cursor and the number of events, or None if an older
/// copy of the database was restored meanwhile.
async fn take_batch(
    pool: &PgPool,
    stream: &mut VaultStream,
    shard: u16,
    known: u64,
    anew: bool,
    first: o::Event,
) -> Result<Option<(u64, u32)>, sqlx::Error> {
    let mut tx = pool.begin().await?;
    if anew {
        store::forget(&mut *tx, shard).await?;
    }
    let (mut last, mut frames) = (first.cursor, 1);
    let mut batch = store::Batch::new(shard);
    add(&mut batch, first);
    while frames < BATCH
        && let Some(next) = stream.event_here()
    {
        (last, frames) = (next.cursor, frames + 1);
        add(&mut batch, next);
    }
    batch.store(&mut tx).await?;
    if !store::advance(&mut tx, shard, known, last).await? {
        return Ok(None);
    }
    tx.commit().await?;
    Ok(Some((last, frames)))
}

async fn take_page(
    tx: &mut Transaction<'_, Postgres>,
    shard: u16,
    page: &o::ScanPage,
) -> Result<(), sqlx::Error> {
    let mut batch = store::Batch::new(shard);
    for (event, signature) in page.events.iter().zip(&page.signatures) {
        let frame = o::Event {
            cursor: page.cursor,
            event: event.clone(),
            slot: page.slot,
            signature: signature.clone(),
            ..Default::default()
        };
        add(&mut batch, frame);
    }
    batch.store(tx).await
}

fn add(batch: &mut store::Batch, frame: o::Event) {
    if let Ok(event) = minicbor::decode::<Event>(&frame.event) {
        batch.add(event, frame);
    } else {
        // A newer vault may send events that this ChatD does not know. The next scan brings the account's state.
        tracing::warn!(shard = frame.shard, cursor = frame.cursor, "an event can't be decoded");
    }
}
