//! Connections between vaults: TLS 1.3 with the tokens' raw public keys on both sides. The admission list alone decides who is a vault: no address, no
//! certificate authority and no Service of the cluster does.

mod link;
mod listen;
mod pace;
mod round_trips;
mod tls;

pub use listen::{Incoming, listen};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bkv_core::document::{Admission, Member};
use bkv_core::id::NodeId;
use bkv_net::round_trip::RoundTrip;
use bkv_wire::proto::peer as p;
use parking_lot::{Mutex, RwLock};
use rustls::sign::CertifiedKey;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::env::Network;
use crate::timing::Timing;
use link::Link;
use round_trips::RoundTrips;

/// What a call between vaults carries.
pub type Body = p::message::Body;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The node is not on the admission list.
    #[error("node {0} is not on the admission list")]
    NotAdmitted(NodeId),
    /// No address is configured for its region.
    #[error("no address for region `{0}`: add it to [peers]")]
    NoAddress(String),
    /// No connection to the peer.
    #[error("region `{region}` is unreachable: {why}")]
    Unreachable {
        /// The peer's region.
        region: String,
        /// The last error.
        why: String,
    },
    /// Connected, but no answer in time.
    #[error("region `{0}` did not answer in time")]
    Late(String),
    /// The peer refused the call.
    #[error("region `{region}` refuses: {why}")]
    Refused {
        /// The peer's region.
        region: String,
        /// The peer's reason.
        why: String,
    },
}

/// The admission list in force. None before the first.
#[derive(Clone, Default)]
pub struct Admitted(Arc<RwLock<Option<Arc<Admission>>>>);

impl Admitted {
    pub(crate) fn get(&self) -> Option<Arc<Admission>> {
        self.0.read().clone()
    }

    /// Puts a list in force, unless a newer one is. The issuer's keys are fetched after a list is in force, and meanwhile or after a failed fetch an older list that is
    /// still newer than the documents may arrive. It would admit the evicted identity again.
    pub fn set(&self, list: Arc<Admission>) {
        let mut current = self.0.write();
        if current.as_ref().is_none_or(|c| c.number <= list.number) {
            *current = Some(list);
        }
    }

    /// The member with this raw public key.
    pub(crate) fn node_of(&self, spki: &[u8]) -> Option<NodeId> {
        self.get()?.members.iter().find(|m| m.identity == spki).map(|m| m.node)
    }
}

impl std::fmt::Debug for Admitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admitted(..)")
    }
}

/// Outgoing connections, one per peer. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    admitted: Admitted,
    key: Arc<CertifiedKey>,
    addresses: BTreeMap<String, String>,
    network: Arc<dyn Network>,
    links: Mutex<HashMap<NodeId, Arc<Link>>>,
    round_trips: RoundTrips,
    /// The longest round trip that this vault reckons with.
    max_round_trip: Duration,
    /// Ends all links.
    end: CancellationToken,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peers(..)")
    }
}

impl Peers {
    /// Starts without connections. The first call to a peer connects.
    pub fn new(
        admitted: Admitted,
        key: Arc<CertifiedKey>,
        addresses: BTreeMap<String, String>,
        network: Arc<dyn Network>,
        max_round_trip: Duration,
    ) -> Self {
        let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (links, round_trips) = (Mutex::default(), RoundTrips::default());
        let inner =
            Inner { admitted, key, addresses, network, links, round_trips, max_round_trip, end, tasks };
        Self { inner: Arc::new(inner) }
    }

    /// The limits that follow from the round trips to the members of the admission list.
    pub(crate) fn timing(&self) -> Timing {
        Timing::of(self.round_trips().into_values(), self.inner.max_round_trip)
    }

    /// The round trip to each region that has answered since this vault started.
    pub(crate) fn round_trips(&self) -> BTreeMap<String, RoundTrip> {
        let Some(list) = self.inner.admitted.get() else { return BTreeMap::new() };
        let measured = |m: &Member| Some((m.region.clone(), self.inner.round_trips.to(m.node)?));
        list.members.iter().filter_map(measured).collect()
    }

    /// The end of a wait that begins now, needs `floor` in one data centre, and contains so many round trips.
    pub(crate) fn deadline(&self, floor: Duration, round_trips: u32) -> Instant {
        Instant::now() + self.timing().limit(floor, round_trips)
    }

    /// Calls a peer and waits for its answer until `deadline`.
    pub async fn call(&self, node: NodeId, body: Body, deadline: Instant) -> Result<Body, PeerError> {
        let link = self.link(node)?;
        let answer = link.call(body, deadline).await?;
        match answer {
            Body::Failed(f) => Err(refused(link.region.clone(), f.reason)),
            answer => Ok(answer),
        }
    }

    /// Sends a Raft call to a peer. Calls that wait at the same moment share a frame.
    pub async fn raft(
        &self,
        node: NodeId,
        call: p::RaftCall,
        deadline: Instant,
    ) -> Result<p::raft_answer::Answer, PeerError> {
        let link = self.link(node)?;
        match link.raft(call, deadline).await? {
            p::raft_answer::Answer::Failed(f) => Err(refused(link.region.clone(), f.reason)),
            answer => Ok(answer),
        }
    }

    fn link(&self, node: NodeId) -> Result<Arc<Link>, PeerError> {
        let list = self.inner.admitted.get();
        let member = list.as_ref().and_then(|l| l.node(node)).ok_or(PeerError::NotAdmitted(node))?;
        let mut links = self.inner.links.lock();
        // A link belongs to one identity. If the list now has another identity for the node, make a new link.
        if let Some(link) = links.get(&node).filter(|l| l.identity == member.identity) {
            return Ok(link.clone());
        }
        let address = self.inner.addresses.get(&member.region);
        let address = address.ok_or_else(|| PeerError::NoAddress(member.region.clone()))?.clone();
        let config = tls::client(self.inner.key.clone(), member.identity.clone())
            .map_err(|e| PeerError::Unreachable { region: member.region.clone(), why: e.to_string() })?;
        let link = Arc::new(Link::start(
            member,
            address,
            config,
            self.inner.network.clone(),
            link::Distance { round_trips: self.inner.round_trips.clone(), most: self.inner.max_round_trip },
            self.inner.end.child_token(),
            &self.inner.tasks,
        ));
        links.insert(node, link.clone());
        Ok(link)
    }

    /// Ends all connections and waits for their tasks. Calls that still wait for an answer fail.
    pub(crate) async fn close(&self) {
        self.inner.end.cancel();
        self.inner.links.lock().clear();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

/// Most bytes of a peer's reason that this vault keeps.
const REASON: usize = 256;

/// A refusal. Its reason reaches the log, and a lying peer could fill the disk with it.
fn refused(region: String, mut why: String) -> PeerError {
    why.truncate(why.floor_char_boundary(REASON));
    PeerError::Refused { region, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s38_a_peers_reason_is_bounded_in_bytes() {
        for (given, kept) in [("joining".to_owned(), 7), ("x".repeat(1 << 20), 256), ("ä€".repeat(99), 255)]
        {
            let PeerError::Refused { why, .. } = refused("a".into(), given) else { panic!("no refusal") };
            assert_eq!(why.len(), kept);
        }
    }
}
