//! The fleet's bundle: fetched from a vault, kept for a moment, opaque to ChatD. Whoever serves a forged one is found out by the client's pinned root.

use std::time::Duration;

use bkv_wire::documents::{self, Content};
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::time::{Instant, timeout};

use crate::vaults::Vaults;

/// A new one is asked for after this.
const FRESH: Duration = Duration::from_secs(30);
const ASK: Duration = Duration::from_secs(2);

/// The newest bundle seen.
#[derive(Debug, Default)]
pub struct FleetCache(Mutex<Option<(Bytes, Instant)>>);

impl FleetCache {
    /// The bundle as protobuf; an older one rather than none while no vault answers.
    pub async fn get(&self, vaults: &Vaults) -> Option<Bytes> {
        let known = {
            let mut cache = self.0.lock();
            if let Some((bundle, at)) = cache.as_mut() {
                if at.elapsed() < FRESH {
                    return Some(bundle.clone());
                }
                // Whoever comes meanwhile is given the old one: one question to a vault, not one for each client.
                *at = Instant::now();
            }
            cache.clone()
        };
        let Some(fresh) = fetch(vaults).await else { return known.map(|(b, _)| b) };
        *self.0.lock() = Some((fresh.clone(), Instant::now()));
        Some(fresh)
    }

    /// Which one it is: asked for by the metrics, which alone would not know of a newer one while no client comes.
    pub async fn number(&self, vaults: &Vaults) -> Option<u64> {
        number(&self.get(vaults).await?)
    }
}

/// As the vaults count it: the admission list's number plus the policy's. Unverified, like all that ChatD knows of the bundle.
fn number(bundle: &[u8]) -> Option<u64> {
    let bundle = o::Bundle::decode(bundle).ok()?;
    let number = |document: &[u8]| match documents::show(document).ok()?.content {
        Content::Admission(a) => Some(a.number),
        Content::Policy(p) => Some(p.number),
    };
    Some(number(&bundle.admission)?.saturating_add(number(&bundle.policy)?))
}

async fn fetch(vaults: &Vaults) -> Option<Bytes> {
    let mut stream = vaults.any()?.open(Body::GetBundle(o::GetBundle {}))?;
    match timeout(ASK, stream.next()).await {
        Ok(Some(Body::Bundle(b))) if !b.admission.is_empty() => Some(b.encode_to_vec().into()),
        _ => None,
    }
}
