//! Reports to a ChatD which vault leads which shard: at once, and after each change.

use std::sync::Arc;

use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use futures_util::future::select_all;
use tokio_util::sync::CancellationToken;

use super::out::{Out, frame_of};
use crate::replica::Replica;
use crate::service::Vault;

/// Sends a Hello now and after each change, until the link ends.
pub(super) async fn greet(vault: Arc<Vault>, out: Out, link: CancellationToken) {
    let mut statuses: Vec<_> = vault.node().replicas().iter().map(Replica::status).collect();
    loop {
        let leaders = statuses
            .iter_mut()
            .zip(0u32..)
            .map(|(s, shard)| {
                let s = s.borrow_and_update();
                let region = if s.lead {
                    vault.region().to_owned()
                } else {
                    s.leader.map(|n| vault.region_of(n)).unwrap_or_default()
                };
                o::Leadership { shard, region }
            })
            .collect();
        let shards = u32::try_from(vault.node().replicas().len()).unwrap_or(0);
        let hello = o::Hello { region: vault.region().to_owned(), shards, leaders };
        if out.send(frame_of(0, Body::Hello(hello))).await.is_err() {
            return;
        }
        let changed = select_all(statuses.iter_mut().map(|s| Box::pin(s.changed())));
        tokio::select! {
            () = link.cancelled() => return,
            (result, ..) = changed => if result.is_err() { return },
        }
    }
}
