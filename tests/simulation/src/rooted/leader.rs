//! The attacker has a leader's vote and a vault's identity key, and runs none of its software.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bkv_core::command::{Batch, Command};
use bkv_core::id::{Hash, NodeId, Time};
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::append_answer::Result as R;
use bkv_wire::proto::peer::raft_answer::Answer;
use bkv_wire::proto::peer::raft_call::Call;
use openraft::{EntryPayload, Membership};
use prost::Message as _;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::fleet::{Fleet, HONEST, ROOTED, now, soon};
use bkv_vault::peer::{Admitted, Body, Incoming, PeerError, Peers, listen};
use bkv_vault::raft::rows::digest;
use bkv_vault::raft::snapshot::{Head, Row};
use bkv_vault::raft::types::{Entry, LogId, Payload, Vote, chain, entry_out, log_id_out, vote_out};

/// The end of a follower's log: place and chain hash.
type End = (LogId, Hash);

/// Confirms the attacker's own snapshots when honest vaults ask the voters.
#[derive(Default)]
struct LyingVoter(Mutex<[u8; 32]>);

#[async_trait::async_trait]
impl Incoming for LyingVoter {
    async fn call(&self, _: NodeId, body: Body) -> Body {
        match body {
            Body::Digest(_) => {
                let digest = self.0.lock().unwrap().to_vec().into();
                Body::DigestAnswer(p::DigestAnswer { digest })
            }
            _ => Body::Failed(p::Failed { reason: "no".into() }),
        }
    }

    async fn raft(&self, _: NodeId, _: p::RaftCall) -> Answer {
        Answer::Failed(p::Failed { reason: "no".into() })
    }
}

pub struct Leader {
    pub node: NodeId,
    voter: Arc<LyingVoter>,
    _stop: DropGuard,
    peers: Peers,
    votes: BTreeMap<u16, Vote>,
    /// The end of each honest vault's log. The attacker may send them different histories.
    ends: BTreeMap<(usize, u16), End>,
}

/// An honest vault's answer to an append, or the reason of its refusal.
pub type Said = Result<R, String>;

impl Leader {
    pub async fn new(
        node: NodeId,
        fleet: &Fleet,
        addresses: BTreeMap<String, String>,
        heads: BTreeMap<u16, (Vote, End)>,
    ) -> Self {
        let admitted = Admitted::default();
        admitted.set(fleet.list.clone());
        let (network, key) = (Arc::new(bkv_vault::env::Tcp), fleet.keys[ROOTED].identity.tls.clone());
        let (voter, stop) = (Arc::new(LyingVoter::default()), CancellationToken::new());
        let own = addresses[&fleet.list.members[ROOTED].region].parse().unwrap();
        let tasks = TaskTracker::new();
        listen(network.as_ref(), own, key.clone(), admitted.clone(), voter.clone(), stop.clone(), &tasks)
            .await
            .unwrap();
        let peers = Peers::new(admitted, key, addresses, network);
        let ends = heads.iter().flat_map(|(shard, (_, end))| HONEST.map(|i| ((i, *shard), *end))).collect();
        Self {
            node,
            voter,
            _stop: stop.drop_guard(),
            peers,
            votes: heads.into_iter().map(|(shard, (vote, _))| (shard, vote)).collect(),
            ends,
        }
    }

    pub fn vote(&self, shard: u16) -> Vote {
        self.votes[&shard]
    }

    /// Claims a later term without any votes.
    pub fn next_term(&mut self, shard: u16) {
        let vote = self.votes.get_mut(&shard).unwrap();
        *vote = Vote::new_committed(vote.leader_id.term + 1, self.node.0);
    }

    pub fn end(&self, to: usize, shard: u16) -> End {
        self.ends[&(to, shard)]
    }

    /// The entry that would come next at a follower.
    pub fn entry(
        &self,
        to: usize,
        shard: u16,
        payload: EntryPayload<bkv_vault::raft::types::TypeConfig>,
    ) -> Entry {
        let leader = openraft::CommittedLeaderId::new(self.vote(shard).leader_id.term, self.node.0);
        Entry { log_id: LogId::new(leader, self.end(to, shard).0.index + 1), payload }
    }

    pub fn batch(time: Time, commands: Vec<Command>) -> EntryPayload<bkv_vault::raft::types::TypeConfig> {
        EntryPayload::Normal(Payload(minicbor::to_vec(Batch { time, commands }).unwrap().into()))
    }

    pub fn membership(nodes: &[u64]) -> EntryPayload<bkv_vault::raft::types::TypeConfig> {
        let all: BTreeMap<u64, openraft::EmptyNode> =
            nodes.iter().map(|n| (*n, openraft::EmptyNode {})).collect();
        EntryPayload::Membership(Membership::new(vec![nodes.iter().copied().collect()], all))
    }

    /// Sends a Raft call exactly as given.
    pub async fn send(&self, fleet: &Fleet, to: usize, shard: u16, call: Call) -> Result<Answer, String> {
        let call = p::RaftCall { id: 0, shard: u32::from(shard), call: Some(call) };
        match self.peers.raft(fleet.node(to).node(), call, soon(10)).await {
            Ok(answer) => Ok(answer),
            Err(PeerError::Refused { why, .. }) => Err(why),
            Err(e) => panic!("no answer at all: {e}"),
        }
    }

    /// Appends one entry behind `previous` and calls it committed.
    pub async fn append_behind(
        &self,
        fleet: &Fleet,
        to: usize,
        shard: u16,
        previous: End,
        entry: &Entry,
    ) -> Said {
        let call = p::AppendEntries {
            vote: Some(vote_out(&self.vote(shard))),
            previous: Some(log_id_out(&previous.0)),
            previous_chain: previous.1.0.to_vec().into(),
            entries: vec![entry_out(entry)],
            committed: Some(log_id_out(&entry.log_id)),
        };
        match self.send(fleet, to, shard, Call::Append(call)).await? {
            Answer::Append(a) => Ok(a.result.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// Appends one entry at the end of a follower's log and calls it committed. Records the new end if the follower took it.
    pub async fn append(&mut self, fleet: &Fleet, to: usize, shard: u16, entry: &Entry) -> Said {
        let end = self.end(to, shard);
        let said = self.append_behind(fleet, to, shard, end, entry).await;
        if said == Ok(R::Success(true)) {
            self.ends.insert((to, shard), (entry.log_id, chain(&end.1, entry)));
        }
        said
    }

    /// Commits commands as an honest leader would and waits until this vault has applied them.
    pub async fn commit_at(&mut self, fleet: &Fleet, to: usize, shard: u16, commands: Vec<Command>) {
        let entry = self.entry(to, shard, Self::batch(now(), commands));
        assert_eq!(self.append(fleet, to, shard, &entry).await, Ok(R::Success(true)));
        fleet.replica(to, shard).wait_durable(entry.log_id.index, soon(10)).await.unwrap();
    }

    /// Commits a command at both honest vaults.
    pub async fn commit(&mut self, fleet: &Fleet, shard: u16, command: Command) {
        let time = now();
        for to in HONEST {
            let entry = self.entry(to, shard, Self::batch(time, vec![command.clone()]));
            assert_eq!(self.append(fleet, to, shard, &entry).await, Ok(R::Success(true)));
            fleet.replica(to, shard).wait_durable(entry.log_id.index, soon(10)).await.unwrap();
        }
    }

    /// What an honest leader would send as a snapshot: an honest vault's state, some entries further on.
    pub async fn snapshot(&self, fleet: &Fleet, of: usize, shard: u16) -> (Head, Vec<Row>) {
        let state = fleet.replica(of, shard).state();
        state.store().flush().await.unwrap();
        let view = state.store().view().unwrap();
        let mut head = state.snapshot_head(&view).unwrap().unwrap();
        let end = self.end(of, shard).0;
        head.applied = log_id_out(&LogId::new(end.leader_id, end.index + 5)).encode_to_vec();
        (head, state.snapshot_rows(&view, None, 1000).unwrap())
    }

    /// Sends a snapshot under a vote. The error is the reason of the refusal.
    pub async fn send_snapshot(
        &self,
        fleet: &Fleet,
        to: usize,
        shard: u16,
        vote: Vote,
        snapshot: &(Head, Vec<Row>),
    ) -> Result<(), String> {
        if let Some(first) = snapshot.1.iter().min_by_key(|r| r.id) {
            *self.voter.0.lock().unwrap() = digest(Some(&first.account)).0;
        }
        let chunk = p::SnapshotChunk {
            shard: u32::from(shard),
            vote: Some(vote_out(&vote)),
            head: minicbor::to_vec(&snapshot.0).unwrap().into(),
            rows: snapshot.1.iter().map(|r| minicbor::to_vec(r).unwrap().into()).collect(),
            last: true,
            ..Default::default()
        };
        match self.peers.call(fleet.node(to).node(), Body::Snapshot(chunk), soon(10)).await {
            Ok(_) => Ok(()),
            Err(PeerError::Refused { why, .. }) => Err(why),
            Err(e) => panic!("no answer at all: {e}"),
        }
    }
}
