//! The fleet's bundle, fetched from a vault and cached. ChatD does not verify it: clients verify it with their pinned root and refuse a forged one.

use std::time::Duration;

use bkv_wire::documents::{self, Content};
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::time::{Instant, timeout};

use crate::vaults::Vaults;

/// The cached bundle is replaced after this time.
const FRESH: Duration = Duration::from_secs(30);
/// Time limit of a request to a vault.
const ASK: Duration = Duration::from_secs(2);

/// The newest bundle seen.
#[derive(Debug, Default)]
pub struct FleetCache(Mutex<Option<(Bytes, Instant)>>);

impl FleetCache {
    /// The bundle as protobuf. While no vault answers, the cached bundle is returned whatever its age.
    pub async fn get(&self, vaults: &Vaults) -> Option<Bytes> {
        let known = {
            let mut cache = self.0.lock();
            if let Some((bundle, at)) = cache.as_mut() {
                if at.elapsed() < FRESH {
                    return Some(bundle.clone());
                }
                // Meanwhile other clients get the old bundle. So ChatD asks a vault once, not once for each client.
                *at = Instant::now();
            }
            cache.clone()
        };
        let Some(fresh) = fetch(vaults).await else { return known.map(|(b, _)| b) };
        *self.0.lock() = Some((fresh.clone(), Instant::now()));
        Some(fresh)
    }

    /// The bundle's number, for the metrics. Fetches a newer bundle even while no client asks for one.
    pub async fn number(&self, vaults: &Vaults) -> Option<u64> {
        number(&self.get(vaults).await?)
    }
}

/// The admission list's number plus the policy's, as in the vaults' metric. Not verified.
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
