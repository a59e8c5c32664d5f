//! A rooted vault against one honest vault: appends, requests for votes, snapshots, certificates of checkpoints, questions of a joining vault. The attacker has an
//! admitted vault's identity key and boot key, and a leader's vote. The other honest vault gets nothing from the attacker, so at the end of a shard the two honest vaults must
//! elect a leader and serve.

mod entries;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use bkv_core::account::Account;
use bkv_core::checkpoint::next_step;
use bkv_core::command::{Begin, Command};
use bkv_core::id::{AccountId, NodeId, Time};
use bkv_core::snapshot::judge;
use bkv_simulation::rooted::client::{Client, account};
use bkv_simulation::rooted::fleet::{Fleet, HONEST, ROOTED, now};
use bkv_simulation::rooted::leader::Leader;
use bkv_vault::peer::Body;
use bkv_vault::raft::snapshot::{Head, Row};
use bkv_vault::raft::types::{LogId, Vote};
use bkv_vault::replica::{Phase, Replica};
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::append_answer::Result as R;
use bkv_wire::verifier::WireVerifier;
use tokio::time::Instant;

use crate::process::{self, eventually, soon};
use crate::target::Target;
pub use steps::Step;

/// Shards of one fleet. A shard is used until it has had its share of inputs.
const SHARDS: u16 = 4;
/// Most steps of one input.
const STEPS: usize = 12;
/// How long the honest vaults wait for one entry, before they try another.
const TRY: Duration = Duration::from_secs(20);

/// The attacked vault.
const VICTIM: usize = HONEST[0];
/// The other honest vault.
const OTHER: usize = HONEST[1];

/// A fleet under attack.
pub struct Attack {
    fleet: Fleet,
    leader: Leader,
    verifier: WireVerifier,
    shard: u16,
    inputs: u32,
    /// Inputs for one shard.
    share: u32,
    scene: Scene,
    /// Shards that served at their end. The others stood after two histories.
    served: u16,
}

/// What the attacker has in the present shard.
pub struct Scene {
    /// Has a key.
    alice: Client,
    /// Has a key that a new registration replaces.
    bob: Client,
    /// That registration.
    stored: Option<Client>,
    /// An attempt of Alice's that the attacker has proposed.
    begun: Option<Begin>,
    /// The last snapshot that the other honest vault would send.
    snapshot: (Head, Vec<Row>),
}

impl Target for Attack {
    type Message = Step;
    const TOKENS: bool = false;

    /// Starts a fleet whose first vault the attacker has taken over.
    async fn begin(share: u32) -> Self {
        process::forget();
        let (fleet, mut leader) = Fleet::taken_over(SHARDS).await;
        let verifier = WireVerifier::new(fleet.root.clone());
        let scene = scene(&fleet, &mut leader, 0).await;
        Self { fleet, leader, verifier, shard: 0, inputs: 0, share, scene, served: 0 }
    }

    async fn input(&mut self, steps: &[Step]) -> bool {
        let before = self.accounts();
        for step in steps.iter().take(STEPS) {
            self.step(step).await;
        }
        self.answers().await;
        for ((id, before), (_, after)) in before.iter().zip(&self.accounts()) {
            self.goes_on(id, before.as_deref(), after.as_deref());
        }
        self.inputs += 1;
        self.is_verified(VICTIM);
        if self.inputs < self.share {
            return true;
        }
        self.serves().await;
        self.shard += 1;
        self.inputs = 0;
        if self.shard == SHARDS {
            eprintln!("peers: {} of {SHARDS} shards served, and the others had two histories", self.served);
            // Otherwise their tasks would go on beside the next fleet's.
            self.stop().await;
            return false;
        }
        self.scene = scene(&self.fleet, &mut self.leader, self.shard).await;
        true
    }

    async fn end(self) {
        self.stop().await;
    }
}

impl Attack {
    async fn stop(&self) {
        for i in HONEST {
            self.fleet.node(i).shutdown().await;
        }
    }

    /// No message of one vault halts another.
    fn is_verified(&self, vault: usize) {
        let phase = self.fleet.phase(vault, self.shard);
        assert!(phase == Phase::Verified, "messages of one vault brought another to {phase:?}");
    }

    fn victim(&self) -> &Replica {
        self.fleet.replica(VICTIM, self.shard)
    }

    /// The accounts that existed before the attack, and what the victim has of them.
    fn accounts(&self) -> [(AccountId, Option<Arc<Account>>); 2] {
        let of = |client: &Client| (client.account, self.victim().account(&client.account).unwrap());
        [of(&self.scene.alice), of(&self.scene.bob)]
    }

    /// No message takes anything back: the state after the input must be one that a replica with the state before it would accept.
    fn goes_on(&self, id: &AccountId, before: Option<&Account>, after: Option<&Account>) {
        if before != after {
            let fleet = self.victim().fleet().unwrap();
            let judged = judge(&fleet, id, before, after, &self.verifier);
            assert!(judged.is_ok(), "{judged:?}: {before:?} became {after:?}");
        }
    }

    /// An honest question gets its answer.
    async fn answers(&self) {
        let ask = Body::Ask(p::Ask { shard: self.shard.into(), my_applied: None });
        let answer = self.leader.peers().call(self.fleet.node(VICTIM).node(), ask, soon()).await;
        assert!(matches!(answer, Ok(Body::Told(_))), "{answer:?}");
    }

    /// The attacker is gone. The honest vaults elect a leader, and both apply its entry. In every second shard, from the second on, the other honest vault may have another history than the
    /// attacker wrote here. They notice it when they meet, and then the shard stands until people decide.
    async fn serves(&mut self) {
        let honest = HONEST.map(|i| self.fleet.replica(i, self.shard));
        stand(&honest, true);
        let serves = self.commits(&honest);
        let served = tokio::select! {
            () = serves => true,
            () = self.two_histories(), if self.shard % 2 == 1 => false,
        };
        stand(&honest, false);
        for i in HONEST {
            self.is_verified(i);
        }
        self.served += u16::from(served);
    }

    /// Both honest vaults apply a new entry.
    async fn commits(&self, honest: &[&Replica]) {
        let until = soon();
        loop {
            let leads = || honest.iter().find(|r| r.status().borrow().lead);
            let leader = eventually("an honest leader", leads).await;
            let begin = Command::Begin(self.scene.alice.begin(1));
            match leader.propose(begin, until.min(Instant::now() + TRY)).await {
                Ok(done) => {
                    for r in honest {
                        r.wait_applied(done.index, until).await.expect("an honest vault does not apply");
                    }
                    return;
                }
                // On a busy machine a leader may be replaced.
                Err(e) => assert!(Instant::now() < until, "the honest vaults do not serve: {e:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Returns once an honest vault has named the other.
    async fn two_histories(&self) {
        let nodes = HONEST.map(|i| self.fleet.node(i));
        let named = |from: NodeId| nodes.iter().any(|n| n.node() == from);
        let all = || nodes.iter().flat_map(|n| n.contradictions());
        while !all().any(|c| c.shard == self.shard && named(c.from)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A vote under which the victim takes appends: after a contradiction that of a later term.
    pub fn leading(&self) -> Vote {
        let own = self.leader.vote(self.shard);
        let theirs = self.victim().raft().map_or(own, |r| r.metrics().borrow().vote);
        let node = self.leader.node;
        let named = self.fleet.node(VICTIM).contradictions().into_iter();
        let refused = named.filter(|c| c.shard == self.shard && c.from == node).map(|c| c.term).max();
        let term = theirs.leader_id.term;
        if theirs.leader_id.node_id == node.0 && theirs.committed && refused.is_none_or(|r| r < term) {
            return theirs;
        }
        let past = term.max(own.leader_id.term).max(refused.unwrap_or(0));
        Vote::new_committed(past.saturating_add(1), node.0)
    }

    /// The end of the victim's log, with its chain hash.
    pub fn end(&self) -> (LogId, [u8; 32]) {
        self.victim().state().log().last().map_or((LogId::default(), [0; 32]), |(id, chain)| (id, chain.0))
    }
}

fn stand(honest: &[&Replica], stand: bool) {
    for replica in honest {
        replica.stand_for_election(stand);
    }
}

/// A shard before the attack. In every second one the other honest vault is one entry ahead, so that its snapshot has something new.
async fn scene(fleet: &Fleet, leader: &mut Leader, shard: u16) -> Scene {
    let alice = Client::new(fleet, account(0xa1, shard), 1);
    let bob = Client::new(fleet, account(0xb0, shard), 1);
    for person in [&alice, &bob] {
        leader.commit(fleet, shard, person.store(None)).await;
        leader.commit(fleet, shard, person.confirm(fleet, &[1, 2], &person.owner)).await;
    }
    let begin = alice.begin(1);
    let finish = alice.finish(&begin);
    leader.commit(fleet, shard, Command::Begin(begin)).await;
    leader.commit(fleet, shard, Command::Finish(finish)).await;
    let state = fleet.replica(OTHER, shard).state();
    let before = state.newest_checkpoint().map_or(Time(0), |c| c.time);
    let time = next_step(before.max(now()));
    for to in if shard % 2 == 1 { &[OTHER][..] } else { &HONEST } {
        let entry = leader.entry(*to, shard, Leader::batch(time, Vec::new()));
        assert_eq!(leader.append(fleet, *to, shard, &entry).await, Ok(R::Success(true)));
        fleet.replica(*to, shard).wait_durable(entry.log_id.index, soon()).await.unwrap();
    }
    let checkpoint = state.newest_checkpoint().unwrap();
    assert_eq!(checkpoint.index, leader.end(OTHER, shard).0.index);
    leader.tell(fleet, OTHER, &fleet.certificate(&checkpoint, &[ROOTED])).await;
    let certified = || (state.certified_index() == Some(checkpoint.index)).then_some(());
    eventually("the checkpoint is certified", certified).await;
    let snapshot = leader.snapshot(fleet, OTHER, shard).await;
    Scene { alice, bob, stored: None, begun: None, snapshot }
}
