//! The event feed for ChatD's projection. It begins with a scan if the cursor is unknown, then sends events as they are applied. The boot key signs
//! each.

use std::sync::Arc;
use std::time::Duration;

use bkv_core::account::{Account, State};
use bkv_core::event::{Event, EventKind};
use bkv_core::statement;
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::out::{Out, frame_of};
use crate::replica::Replica;
use crate::service::Vault;

/// Most events or accounts per read.
const PAGE: usize = 256;
/// How often to look for changes without a notification: some, such as a snapshot, send none.
const LOOK: Duration = Duration::from_secs(2);
/// Pause after a change. Under load the next page then has the events of many entries, which go out in one write. ChatD stores them in a transaction every 50 ms.
const GATHER: Duration = Duration::from_millis(25);

/// Sends frames at the pace of the ChatD that reads them.
pub(super) struct Paced {
    pub(super) out: Out,
    /// Frames that may still be sent. Closed when the feed is closed.
    pub(super) credit: Arc<Semaphore>,
}

impl Paced {
    /// None once ChatD no longer listens.
    async fn send(&self, frame: o::Frame) -> Option<()> {
        self.credit.acquire().await.ok()?.forget();
        self.out.send(frame).await.ok()
    }
}

pub(super) async fn serve(
    vault: Arc<Vault>,
    stream: u64,
    s: o::Subscribe,
    out: Paced,
    link: CancellationToken,
) {
    let shard = s.shard;
    let Some(replica) = usize::try_from(shard).ok().and_then(|n| vault.node().replicas().get(n)).cloned()
    else {
        return;
    };
    let end = |reason: &str| frame_of(stream, Body::FeedEnd(o::FeedEnd { shard, reason: reason.into() }));
    let mut cursor = s.after;
    let mut applied = replica.state.durable.subscribe();
    let mut reported = false;
    loop {
        if !replica.status().borrow().lead {
            let _ = out.out.send(end("not the leader")).await;
            return;
        }
        let page = match replica.events_after(cursor, PAGE) {
            Ok(page) => page,
            Err(e) => {
                let _ = out.out.send(end(&e.to_string())).await;
                return;
            }
        };
        if !page.complete {
            let Some(newest) = scan(&vault, &replica, stream, shard, &out).await else {
                let _ = out.out.send(end("can't scan now")).await;
                return;
            };
            cursor = newest;
            continue;
        }
        for (number, event) in &page.events {
            let Some(frame) = signed(&vault, &replica, shard, *number, event) else {
                let _ = out.out.send(end("can't sign now")).await;
                return;
            };
            if out.send(frame_of(stream, Body::Event(frame))).await.is_none() {
                return;
            }
            cursor = *number;
        }
        if page.events.len() < PAGE {
            // Report once that ChatD now has everything. Until then it must mark its answers stale.
            if !std::mem::replace(&mut reported, true) {
                let here = o::ScanPage { shard, last: true, cursor, ..Default::default() };
                if out.send(frame_of(stream, Body::ScanPage(here))).await.is_none() {
                    return;
                }
            }
            if out.credit.is_closed() {
                return;
            }
            tokio::select! {
                () = link.cancelled() => return,
                changed = timeout(LOOK, applied.changed()) => {
                    if changed.is_ok() {
                        sleep(GATHER).await;
                    }
                }
            }
        }
    }
}

fn signed(vault: &Vault, replica: &Replica, shard: u32, cursor: u64, event: &Event) -> Option<o::Event> {
    let (fleet, slot) = (replica.fleet()?, vault.slot()?);
    let bytes = minicbor::to_vec(event).ok()?;
    let statement =
        statement::event(&fleet.lineage, fleet.era, slot, u16::try_from(shard).ok()?, cursor, &bytes);
    let (certificate, signature) = vault.sign(&statement)?;
    Some(o::Event { shard, cursor, event: bytes.into(), slot: u32::from(slot.0), certificate, signature })
}

/// Sends every account's newest state as an event. Returns the cursor from which to continue.
async fn scan(vault: &Vault, replica: &Replica, stream: u64, shard: u32, out: &Paced) -> Option<u64> {
    // Read the cursor first: changes during the scan arrive again as events, and events are idempotent.
    let newest = replica.events_after(u64::MAX, 0).ok()?.newest;
    let mut after = None;
    loop {
        replica.state.store.flush().await.ok()?;
        let page = replica.scan(after, PAGE).ok()?;
        after = page.last().map(|(id, _)| *id);
        let last = page.len() < PAGE;
        let mut frame = o::ScanPage { shard, last, cursor: newest, ..Default::default() };
        for (_, account) in &page {
            let event = signed(vault, replica, shard, 0, &current(account))?;
            frame.events.push(event.event);
            frame.signatures.push(event.signature);
            (frame.slot, frame.certificate) = (event.slot, event.certificate);
        }
        out.send(frame_of(stream, Body::ScanPage(frame))).await?;
        if last {
            return Some(newest);
        }
    }
}

fn current(account: &Account) -> Event {
    let kind = match account.state() {
        State::Destroyed | State::Deleted => {
            account.ended.as_ref().map_or(EventKind::Dropped, |e| EventKind::Ended(e.cause))
        }
        _ => EventKind::Registered,
    };
    let since = account.live.as_ref().map(|l| l.since);
    Event {
        route: account.route,
        kind,
        at: since.or(account.ended.as_ref().map(|e| e.at)).unwrap_or(account.created),
        state: account.state(),
        generation: account.generation,
        tries_left: account.tries_left(),
        next_allowed: account.next_allowed,
        since,
    }
}
