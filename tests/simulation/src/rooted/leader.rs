//! The attacker has a leader's vote and a vault's identity key, and runs none of its software.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bkv_core::batch::Batch;
use bkv_core::checkpoint::{Certificate, next_step};
use bkv_core::command::{Command, VERSION};
use bkv_core::encoding::cbor;
use bkv_core::hash;
use bkv_core::id::{Hash, NodeId, Time};
use bkv_core::join::Ballot;
use bkv_core::statement;
use bkv_wire::equivocation::Signed;
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::append_answer::Result as R;
use bkv_wire::proto::peer::raft_answer::Answer;
use bkv_wire::proto::peer::raft_call::Call;
use openraft::{EntryPayload, Membership};
use prost::Message as _;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::fleet::{Fleet, HONEST, ROOTED, now, soon};
use crate::eventually;
use bkv_vault::peer::{Admitted, Body, Incoming, PeerError, Peers, listen};
use bkv_vault::raft::snapshot::{Head, Row};
use bkv_vault::raft::types::{Entry, LogId, Payload, Vote, chain, entry_out, log_id_out, vote_out};
use bkv_vault::replica::PeerService as _;

/// The end of a follower's log: place and chain hash.
type End = (LogId, Hash);

/// Makes the answer to an append of an honest leader, from the append and the number of appends before it.
pub type AppendLie = Box<dyn Fn(&p::AppendEntries, usize) -> R + Send>;

/// Makes the vote of an answer from the vote of the request.
type VoteLie = Box<dyn Fn(p::Vote) -> p::Vote + Send>;

/// Answers a vault that starts, and an honest leader, with lies. Refuses everything else.
#[derive(Default)]
struct Liar {
    told: Mutex<Option<p::Told>>,
    append: Mutex<Option<AppendLie>>,
    appends: AtomicUsize,
    /// Makes the vote with which it answers a request for votes.
    vote: Mutex<Option<VoteLie>>,
    /// Grants every request for votes with this signature.
    grants: Mutex<Option<p::Voted>>,
    granted: AtomicUsize,
    /// An honest vault has asked for its vote, or whether it would vote.
    asked: Notify,
    /// Requests for its vote.
    requests: AtomicUsize,
}

#[async_trait::async_trait]
impl Incoming for Liar {
    async fn call(&self, _: NodeId, body: Body) -> Body {
        match (body, self.told.lock().unwrap().clone()) {
            (Body::Ask(_), Some(told)) => Body::Told(told),
            _ => Body::Failed(p::Failed { reason: "no".into() }),
        }
    }

    async fn raft(&self, _: NodeId, call: p::RaftCall) -> Answer {
        if let Some(Call::Vote(request)) = &call.call {
            self.requests.fetch_add(usize::from(!request.preliminary), Ordering::Relaxed);
            self.asked.notify_one();
        }
        if let (Some(Call::Append(append)), Some(lie)) = (&call.call, &*self.append.lock().unwrap()) {
            let result = Some(lie(append, self.appends.fetch_add(1, Ordering::Relaxed)));
            return Answer::Append(p::AppendAnswer { result, ..Default::default() });
        }
        if let (Some(Call::Vote(request)), Some(voted)) = (&call.call, &*self.grants.lock().unwrap()) {
            let voted = (!request.preliminary).then(|| voted.clone());
            self.granted.fetch_add(usize::from(!request.preliminary), Ordering::Relaxed);
            return Answer::Vote(p::VoteAnswer { vote: request.vote, granted: true, last: None, voted });
        }
        if let (Some(Call::Vote(request)), Some(lie)) = (&call.call, &*self.vote.lock().unwrap()) {
            let vote = request.vote.map(lie);
            return Answer::Vote(p::VoteAnswer { vote, granted: false, last: None, voted: None });
        }
        Answer::Failed(p::Failed { reason: "no".into() })
    }
}

pub struct Leader {
    pub node: NodeId,
    _stop: DropGuard,
    peers: Peers,
    liar: Arc<Liar>,
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
        let (liar, stop) = (Arc::new(Liar::default()), CancellationToken::new());
        let own = addresses[&fleet.list.members[ROOTED].region].parse().unwrap();
        let tasks = TaskTracker::new();
        let until = soon(60);
        let listening = || {
            listen(
                network.as_ref(),
                own,
                key.clone(),
                (admitted.clone(), Duration::from_secs(1)),
                liar.clone(),
                stop.clone(),
                &tasks,
            )
        };
        // The vault's own listener may still be there.
        while let Err(e) = listening().await {
            assert!(Instant::now() < until, "{own}: {e}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let peers = Peers::new(admitted, key, addresses, network, Duration::ZERO);
        let ends = heads.iter().flat_map(|(shard, (_, end))| HONEST.map(|i| ((i, *shard), *end))).collect();
        Self {
            node,
            _stop: stop.drop_guard(),
            peers,
            liar,
            votes: heads.into_iter().map(|(shard, (vote, _))| (shard, vote)).collect(),
            ends,
        }
    }

    /// What the attacker answers when a vault that starts asks what it saw.
    pub fn tells(&self, told: p::Told) {
        *self.liar.told.lock().unwrap() = Some(told);
    }

    /// What the attacker answers to the appends of an honest leader from now on.
    pub fn answers(&self, lie: AppendLie) {
        *self.liar.append.lock().unwrap() = Some(lie);
        self.liar.appends.store(0, Ordering::Relaxed);
    }

    /// From now on the attacker answers each append and each request for votes with a later vote: its own, or one for the vault that asks.
    pub fn answers_with_later_votes(&self, committed: bool, for_the_asker: bool) {
        let own = (!for_the_asker).then_some(self.node.0);
        let later = move |v: p::Vote| p::Vote { term: v.term + 1, node: own.unwrap_or(v.node), committed };
        *self.liar.vote.lock().unwrap() = Some(Box::new(later));
        self.answers(Box::new(move |append, _| R::HigherVote(later(append.vote.unwrap()))));
    }

    /// From now on the attacker grants every vote, with this signature.
    pub fn grants_votes(&self, voted: p::Voted) {
        *self.liar.grants.lock().unwrap() = Some(voted);
    }

    /// How many votes it has granted like that.
    pub fn granted(&self) -> usize {
        self.liar.granted.load(Ordering::Relaxed)
    }

    /// Waits until an honest vault asks for its vote, or whether it would vote.
    pub async fn is_asked(&self) {
        self.liar.asked.notified().await;
    }

    /// How often honest vaults have asked for its vote.
    pub fn requests(&self) -> usize {
        self.liar.requests.load(Ordering::Relaxed)
    }

    /// How many appends it has answered like that.
    pub fn answered(&self) -> usize {
        self.liar.appends.load(Ordering::Relaxed)
    }

    /// The attacker's connections to the honest vaults, for messages of any kind.
    pub const fn peers(&self) -> &Peers {
        &self.peers
    }

    pub fn vote(&self, shard: u16) -> Vote {
        self.votes[&shard]
    }

    /// Leads in a later term, as if an honest vault had voted for it.
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
        let batch = Batch { version: VERSION, time, commands };
        EntryPayload::Normal(Payload(minicbor::to_vec(batch).unwrap().into()))
    }

    pub fn membership(nodes: &[u64]) -> EntryPayload<bkv_vault::raft::types::TypeConfig> {
        let all: BTreeMap<u64, openraft::EmptyNode> =
            nodes.iter().map(|n| (*n, openraft::EmptyNode {})).collect();
        EntryPayload::Membership(Membership::new(vec![nodes.iter().copied().collect()], all))
    }

    /// Sends any call exactly as given. The error is the reason of the refusal.
    pub async fn call(&self, fleet: &Fleet, to: usize, body: Body) -> Result<Body, String> {
        match self.peers.call(fleet.node(to).node(), body, soon(60)).await {
            Ok(answer) => Ok(answer),
            Err(PeerError::Refused { why, .. }) => Err(why),
            Err(e) => panic!("no answer at all: {e}"),
        }
    }

    /// The first honest vault's signature on its vote for the attacker. A leader that is rooted has one. A test of what an attacker can do without it sends its appends by
    /// [`Self::raft`].
    pub fn mandate(fleet: &Fleet, shard: u16, vote: Option<p::Vote>) -> Vec<p::Voted> {
        let vote = vote.map_or_else(Ballot::default, |v| Ballot { term: v.term, node: NodeId(v.node) });
        vec![Self::voted(fleet, HONEST[0], shard, vote)]
    }

    /// A vault's signature on a vote.
    pub fn voted(fleet: &Fleet, by: usize, shard: u16, vote: Ballot) -> p::Voted {
        let (list, voter) = (&fleet.list, fleet.list.members[by].node);
        let statement = statement::voted(&list.lineage, list.era, voter, shard, vote);
        let (certificate, signature) = fleet.boot[by].sign(&statement).unwrap();
        p::Voted { certificate, signature }
    }

    /// Signs an append as the leader that its vote names, with the attacker's boot key, and shows the vote by which it was elected.
    pub fn sign(&self, fleet: &Fleet, shard: u16, append: &mut p::AppendEntries) {
        append.votes = Self::mandate(fleet, shard, append.vote);
        let last = append.entries.last().and_then(|e| e.id);
        let (Some(vote), Some(last)) = (append.vote, last) else { return };
        let content = |e: &p::Entry| hash::entry_content(&e.encode_to_vec());
        let behind = Hash::try_from(&append.previous_chain[..]).unwrap_or(Hash([0; 32]));
        let chain = append.entries.iter().fold(behind, |chain, e| hash::chain(&chain, &content(e)));
        let vote = Ballot { term: vote.term, node: NodeId(vote.node) };
        let signed = Signed { vote, index: last.index, chain };
        let (certificate, signature) =
            fleet.boot[ROOTED].sign(&signed.statement(&fleet.list, shard)).unwrap();
        append.appended = Some(p::Appended {
            vote: append.vote,
            index: last.index,
            chain: chain.0.to_vec().into(),
            certificate,
            signature,
        });
    }

    /// Sends a Raft call, an append with the attacker's signature and the vote by which it was elected.
    pub async fn send(&self, fleet: &Fleet, to: usize, shard: u16, mut call: Call) -> Result<Answer, String> {
        if let Call::Append(append) = &mut call {
            self.sign(fleet, shard, append);
        }
        self.raft(fleet, to, p::RaftCall { id: 0, shard: u32::from(shard), call: Some(call) }).await
    }

    /// Sends a Raft call exactly as given.
    pub async fn raft(&self, fleet: &Fleet, to: usize, call: p::RaftCall) -> Result<Answer, String> {
        let until = soon(60);
        loop {
            match self.peers.raft(fleet.node(to).node(), call.clone(), until).await {
                Ok(answer) => return Ok(answer),
                Err(PeerError::Refused { why, .. }) => return Err(why),
                // A vault that has just started again.
                Err(PeerError::Unreachable { .. }) if Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(e) => panic!("no answer at all: {e}"),
            }
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
            ..Default::default()
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
        fleet.replica(to, shard).wait_durable(entry.log_id.index, soon(60)).await.unwrap();
    }

    /// Commits a batch without commands that is a checkpoint: its time begins a new step.
    pub async fn checkpoint_at(&mut self, fleet: &Fleet, to: usize, shard: u16) {
        let before = fleet.replica(to, shard).state().newest_checkpoint().map_or(Time(0), |c| c.time);
        let time = next_step(before.max(now()));
        let entry = self.entry(to, shard, Self::batch(time, Vec::new()));
        assert_eq!(self.append(fleet, to, shard, &entry).await, Ok(R::Success(true)));
        fleet.replica(to, shard).wait_durable(entry.log_id.index, soon(60)).await.unwrap();
    }

    /// Commits a command at both honest vaults.
    pub async fn commit(&mut self, fleet: &Fleet, shard: u16, command: Command) {
        let time = now();
        for to in HONEST {
            let entry = self.entry(to, shard, Self::batch(time, vec![command.clone()]));
            assert_eq!(self.append(fleet, to, shard, &entry).await, Ok(R::Success(true)));
            fleet.replica(to, shard).wait_durable(entry.log_id.index, soon(60)).await.unwrap();
        }
    }

    /// The newest snapshot of an honest vault, as an honest leader would send it.
    pub async fn snapshot(&self, fleet: &Fleet, of: usize, shard: u16) -> (Head, Vec<Row>) {
        let state = fleet.replica(of, shard).state();
        let export = eventually("a certified checkpoint", || state.export().ok()).await;
        let rows = state.export_rows(&export, None, 1000).unwrap();
        (export.head, rows)
    }

    /// A snapshot of an honest vault that is further than the other one. The attacker's signature is the second one that it needs.
    pub async fn further(&mut self, fleet: &Fleet, of: usize, shard: u16) -> (Head, Vec<Row>) {
        self.certify(fleet, of, shard).await;
        self.snapshot(fleet, of, shard).await
    }

    /// Lets an honest vault make a checkpoint, and certifies it with the attacker's signature.
    pub async fn certify(&mut self, fleet: &Fleet, of: usize, shard: u16) {
        self.checkpoint_at(fleet, of, shard).await;
        let state = fleet.replica(of, shard).state();
        let (checkpoint, here) = (state.newest_checkpoint().unwrap(), self.end(of, shard).0.index);
        assert_eq!(checkpoint.index, here);
        self.tell(fleet, of, &fleet.certificate(&checkpoint, &[ROOTED])).await;
        let is_certified = || (state.certified_index() == Some(here)).then_some(());
        eventually("the checkpoint is certified", is_certified).await;
    }

    /// Sends signatures on a checkpoint.
    pub async fn tell(&self, fleet: &Fleet, to: usize, certificate: &Certificate) {
        let call = Body::Checkpoint(p::Checkpoint { certificate: cbor(certificate).into() });
        let answer = self.peers.call(fleet.node(to).node(), call, soon(60)).await;
        assert!(matches!(answer, Ok(Body::CheckpointAnswer(_))), "{answer:?}");
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
        let chunk = p::SnapshotChunk {
            shard: u32::from(shard),
            vote: Some(vote_out(&vote)),
            votes: Self::mandate(fleet, shard, Some(vote_out(&vote))),
            head: minicbor::to_vec(&snapshot.0).unwrap().into(),
            rows: snapshot.1.iter().map(|r| minicbor::to_vec(r).unwrap().into()).collect(),
            last: true,
            ..Default::default()
        };
        self.send_chunk(fleet, to, chunk).await
    }

    /// Sends a part of a snapshot exactly as given.
    pub async fn send_chunk(&self, fleet: &Fleet, to: usize, chunk: p::SnapshotChunk) -> Result<(), String> {
        match self.peers.call(fleet.node(to).node(), Body::Snapshot(chunk), soon(60)).await {
            Ok(_) => Ok(()),
            Err(PeerError::Refused { why, .. }) => Err(why),
            Err(e) => panic!("no answer at all: {e}"),
        }
    }
}
