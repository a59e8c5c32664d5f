//! The fleet's bundle as each vault gave it. ChatD does not have the root and can't verify a bundle, and a vault may lie. So ChatD serves what most vaults
//! report. Clients verify it, and a client that finds it wrong asks for the bundle of other regions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bkv_wire::documents::{self, Content};
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::vaults::{Link, Vaults};

/// Time between two rounds of questions to all vaults.
const FRESH: Duration = Duration::from_secs(30);
/// The same while a connected vault has given none.
const INCOMPLETE: Duration = Duration::from_secs(2);
/// The same while no bundle is known.
const SOON: Duration = Duration::from_millis(200);
/// Time limit of a request to a vault.
const ASK: Duration = Duration::from_secs(2);

/// A region's bundle.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) bundle: o::Bundle,
    /// None if a document can't be read.
    pub(crate) number: Option<u64>,
}

/// The newest bundle of each region.
#[derive(Debug, Default)]
pub struct BundleCache(watch::Sender<BTreeMap<String, Known>>);

impl BundleCache {
    /// The bundle as protobuf, with the region that gave it. Ignores the regions in `not`. Waits a moment for the first bundle. No request makes ChatD ask a
    /// vault.
    pub async fn get(&self, not: &[&str]) -> Option<Bytes> {
        let mut known = self.0.subscribe();
        let known = timeout(ASK, known.wait_for(|known| !known.is_empty())).await.ok()?.ok()?;
        choose(&known, not).map(|known| known.bundle.encode_to_vec().into())
    }

    /// The bundle's number, for the metrics.
    pub fn number(&self) -> Option<u64> {
        choose(&self.0.borrow(), &[])?.number
    }

    /// Asks all vaults again and again until `stop`.
    pub async fn follow(self: Arc<Self>, vaults: Arc<Vaults>, stop: CancellationToken) {
        let asking = async {
            loop {
                self.ask(&vaults).await;
                let pause = {
                    let known = self.0.borrow();
                    let complete = vaults.connected().iter().all(|link| known.contains_key(link.region()));
                    match (known.is_empty(), complete) {
                        (true, _) => SOON,
                        (false, true) => FRESH,
                        (false, false) => INCOMPLETE,
                    }
                };
                sleep(pause).await;
            }
        };
        stop.run_until_cancelled(asking).await;
    }

    /// Keeps each answer as it arrives, so that a vault that does not answer delays no other.
    async fn ask(&self, vaults: &Vaults) {
        let mut answers: FuturesUnordered<_> = vaults.connected().into_iter().map(fetch).collect();
        while let Some((region, bundle)) = answers.next().await {
            let Some(bundle) = bundle else { continue };
            let number = number(&bundle);
            if number.is_none() {
                tracing::warn!(
                    region,
                    "a vault sent documents that can't be read; ChatD prefers those of other regions"
                );
            }
            self.0.send_modify(|known| drop(known.insert(region, Known { bundle, number })));
        }
    }
}

/// The readable bundle that most regions outside `not` report. Its number proves nothing here: a lying vault would claim the highest. Without a readable one
/// any bundle, so that clients can report what is wrong with it.
pub(crate) fn choose<'a>(known: &'a BTreeMap<String, Known>, not: &[&str]) -> Option<&'a Known> {
    let regions: Vec<&Known> = known.values().filter(|k| !not.contains(&k.bundle.region.as_str())).collect();
    let same = |a: &o::Bundle, b: &o::Bundle| a.admission == b.admission && a.policy == b.policy;
    let reported = |k: &Known| regions.iter().filter(|other| same(&k.bundle, &other.bundle)).count();
    // Of two that as many regions report, `rev` chooses the first region's, so that the choice does not alternate.
    regions.iter().rev().max_by_key(|k| (k.number.is_some(), reported(k))).copied()
}

/// The admission list's number plus the policy's, as in the vaults' metric. Not verified. None if a document can't be read.
fn number(bundle: &o::Bundle) -> Option<u64> {
    let number = |document: &[u8]| match documents::show(document).ok()?.content {
        Content::Admission(a) => Some(a.number),
        Content::Policy(p) => Some(p.number),
    };
    Some(number(&bundle.admission)?.saturating_add(number(&bundle.policy)?))
}

/// The region's bundle. None if the vault has no documents yet or does not answer.
async fn fetch(link: Arc<Link>) -> (String, Option<o::Bundle>) {
    // The vault's certificate proves the region, so the vault can't blame another one.
    let region = link.region().to_owned();
    let asked = async {
        let mut stream = link.open(Body::GetBundle(o::GetBundle {}))?;
        match timeout(ASK, stream.next()).await {
            Ok(Some(Body::Bundle(b))) if !b.admission.is_empty() => Some(b),
            _ => None,
        }
    };
    let bundle = asked.await.map(|bundle| o::Bundle { region: region.clone(), ..bundle });
    (region, bundle)
}
