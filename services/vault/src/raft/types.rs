//! openraft's type configuration, and the one conversion of its types to protobuf. Wire and log use the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bkv_core::hash;
use bkv_core::id::{Hash, Time};
use bkv_core::join::{Ballot, LogPosition};
use bkv_core::outcome::Outcome;
use bkv_wire::proto::peer as p;
use bytes::Bytes;
use openraft::{CommittedLeaderId, EmptyNode, EntryPayload};
use prost::Message as _;

use crate::env::Runtime;
use crate::raft::snapshot::SnapshotData;

openraft::declare_raft_types!(
    /// One Raft group: entries are batches of commands.
    pub TypeConfig:
        D = Payload,
        R = Applied,
        NodeId = u64,
        Node = EmptyNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = SnapshotData,
        AsyncRuntime = Runtime,
);

/// An entry of the log.
pub type Entry = openraft::Entry<TypeConfig>;
/// Term, leader and index of an entry.
pub type LogId = openraft::LogId<u64>;
/// A vote.
pub type Vote = openraft::Vote<u64>;
/// A running Raft group.
pub type Raft = openraft::Raft<TypeConfig>;
/// The voters of a group.
pub type Membership = openraft::Membership<u64, EmptyNode>;

/// The CBOR of a [`bkv_core::batch::Batch`]. Holds secrets (z, seeds), so its `Debug` shows only a length.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(pub Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

/// The result of applying an entry: one outcome per command.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// In the order of the commands.
    pub outcomes: Vec<Outcome>,
    /// Entry time.
    pub time: Time,
}

/// A message can't be converted.
#[derive(Debug, Clone, thiserror::Error)]
#[error("malformed {0}")]
pub(crate) struct Malformed(pub &'static str);

/// A log id as a message.
pub fn log_id_out(id: &LogId) -> p::LogId {
    p::LogId { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

pub(crate) fn log_id_in(id: &p::LogId) -> LogId {
    LogId::new(CommittedLeaderId::new(id.term, id.node), id.index)
}

/// A vote as a message.
pub fn vote_out(v: &Vote) -> p::Vote {
    p::Vote { term: v.leader_id.term, node: v.leader_id.node_id, committed: v.committed }
}

pub(crate) fn vote_in(v: Option<p::Vote>) -> Result<Vote, Malformed> {
    let v = v.ok_or(Malformed("vote"))?;
    Ok(if v.committed { Vote::new_committed(v.term, v.node) } else { Vote::new(v.term, v.node) })
}

pub(crate) fn position(id: Option<&LogId>) -> LogPosition {
    id.map_or_else(LogPosition::default, |id| LogPosition { term: id.leader_id.term, index: id.index })
}

pub(crate) fn ballot(v: Option<&Vote>) -> Ballot {
    v.map_or_else(Ballot::default, |v| Ballot {
        term: v.leader_id.term,
        node: bkv_core::id::NodeId(v.leader_id.node_id),
    })
}

/// A later vote in an answer. It does not show that a majority gave it, and openraft would take its node for the leader.
pub(crate) fn unproven(vote: Vote) -> Vote {
    Vote::new(vote.leader_id.term, vote.leader_id.node_id)
}

/// A membership as a message.
pub fn membership_out(m: &Membership) -> p::Membership {
    p::Membership {
        joint: m
            .get_joint_config()
            .iter()
            .map(|c| p::Config { voters: c.iter().copied().collect() })
            .collect(),
        nodes: m.nodes().map(|(id, _)| *id).collect(),
    }
}

pub(crate) fn membership_in(m: &p::Membership) -> Membership {
    let configs: Vec<BTreeSet<u64>> = m.joint.iter().map(|c| c.voters.iter().copied().collect()).collect();
    let nodes: BTreeMap<u64, EmptyNode> = m.nodes.iter().map(|n| (*n, EmptyNode {})).collect();
    Membership::new(configs, nodes)
}

/// An entry as a message and as stored in the log.
pub fn entry_out(e: &Entry) -> p::Entry {
    let payload = match &e.payload {
        EntryPayload::Blank => p::entry::Payload::Blank(true),
        EntryPayload::Normal(b) => p::entry::Payload::Batch(b.0.clone()),
        EntryPayload::Membership(m) => p::entry::Payload::Membership(membership_out(m)),
    };
    p::Entry { id: Some(log_id_out(&e.log_id)), payload: Some(payload) }
}

pub(crate) fn entry_in(e: p::Entry) -> Result<Entry, Malformed> {
    let log_id = log_id_in(&e.id.ok_or(Malformed("entry id"))?);
    let payload = match e.payload.ok_or(Malformed("entry payload"))? {
        p::entry::Payload::Blank(_) => EntryPayload::Blank,
        p::entry::Payload::Batch(b) => EntryPayload::Normal(Payload(b)),
        p::entry::Payload::Membership(m) => EntryPayload::Membership(membership_in(&m)),
    };
    Ok(Entry { log_id, payload })
}

/// What stands for an entry in the chain hash.
pub(crate) fn content(entry: &Entry) -> Hash {
    hash::entry_content(&entry_out(entry).encode_to_vec())
}

/// hᵢ = H(hᵢ₋₁, H(the encoded entry)). Two logs with the same hash at an entry have the same history before it.
pub fn chain(before: &Hash, entry: &Entry) -> Hash {
    hash::chain(before, &content(entry))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let payload = prop_oneof![
            Just(EntryPayload::Blank),
            proptest::collection::vec(any::<u8>(), 0..64)
                .prop_map(|b| EntryPayload::Normal(Payload(b.into()))),
            proptest::collection::btree_set(1u64..9, 1..5).prop_map(|voters| {
                let nodes: BTreeMap<u64, EmptyNode> = voters.iter().map(|n| (*n, EmptyNode {})).collect();
                EntryPayload::Membership(Membership::new(vec![voters], nodes))
            }),
        ];
        (1u64..5, 1u64..4, 0u64..100, payload).prop_map(|(t, n, i, payload)| Entry {
            log_id: LogId::new(CommittedLeaderId::new(t, n), i),
            payload,
        })
    }

    proptest! {
        #[test]
        fn entries_round_trip(e in entry()) {
            let back = entry_in(p::Entry::decode(&entry_out(&e).encode_to_vec()[..]).unwrap()).unwrap();
            prop_assert_eq!(format!("{:?}", &back), format!("{:?}", &e));
            prop_assert_eq!(chain(&Hash([0; 32]), &back), chain(&Hash([0; 32]), &e));
            prop_assert_ne!(chain(&Hash([1; 32]), &back), chain(&Hash([0; 32]), &e));
        }

        /// A valid entry with one byte changed, or cut off, decodes to some entry or is refused.
        #[test]
        fn s38_changed_entries_never_panic(e in entry(), at: prop::sample::Index, to: u8) {
            let mut bytes = entry_out(&e).encode_to_vec();
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(e) = p::Entry::decode(&bytes[..]) {
                let _ = entry_in(e).map(|e| chain(&Hash([0; 32]), &e));
            }
            let _ = p::Entry::decode(&bytes[..at]).map(entry_in);
        }

        /// The head and a row of a snapshot from a rooted leader.
        #[test]
        fn s38_snapshots_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in any::<[u8; 3]>()) {
            use crate::raft::rows::InForce;
            use crate::raft::snapshot::{Head, Row};
            let _ = minicbor::decode::<Row>(&bytes);
            let _ = Head::read(&bytes);
            let _ = InForce { membership: bytes, at: at.to_vec() }.stored();
        }

        #[test]
        fn s38_arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(e) = p::Entry::decode(&bytes[..]) {
                let _ = entry_in(e);
            }
            let _ = p::Message::decode(&bytes[..]);
            let _ = bkv_wire::proto::outer::Frame::decode(&bytes[..]);
            let _ = bkv_wire::proto::inner::Request::decode(&bytes[..]);
            let _ = minicbor::decode::<bkv_core::batch::Batch>(&bytes);
            let _ = p::Vote::decode(&bytes[..]).map(|v| vote_in(Some(v)));
            let _ = p::Membership::decode(&bytes[..]).map(|m| membership_in(&m));
        }
    }
}
