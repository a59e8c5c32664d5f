//! Three vaults in one process: real stores, real TLS on loopback, software keys.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bkv_core::command::{Command, Confirm, Expire, Init, VERSION};
use bkv_core::document::{Admission, Member, NewDocuments};
use bkv_core::id::{AccountId, Era, Hash, NodeId, RegId, ShardId, Signature, Slot};
use bkv_core::outcome::{Outcome, Refusal};
use bkv_core::record::{Record, SealedShare};
use bkv_core::secret::Secret32;
use bkv_core::signature::RegionSignature;
use bkv_fixtures::SoftwareIdentity;
use bkv_hsm::TokenError;
use bkv_wire::documents::{Lift, Root, RootKey, sign_lift};
use bkv_wire::verifier::WireVerifier;
use sha2::Digest as _;
use tokio::time::Instant;
use zeroize::Zeroizing;

use bkv_simulation::boot_key::BootKey;
use bkv_simulation::documents::{self, region};
use bkv_simulation::ports;
use bkv_simulation::rooted::fleet::{copy, soon as in_seconds};
use bkv_vault::peer::{Body, PeerError};
use bkv_vault::raft::keeper::Keeper;
use bkv_vault::replica::{Committed, Env, Node, NodeConfig, Phase, Replica};
use bkv_vault::store::DataKeys;

struct TestKeys(u8);

impl DataKeys for TestKeys {
    fn data_key(&self, info: &[u8]) -> Result<Zeroizing<[u8; 32]>, TokenError> {
        let digest: [u8; 32] = sha2::Sha256::new_with_prefix([self.0]).chain_update(info).finalize().into();
        Ok(Zeroizing::new(digest))
    }
}

struct TestKeeper;

impl Keeper for TestKeeper {
    fn keep(
        &self,
        _: &AccountId,
        _: &RegId,
        _: &Record,
        z: &Secret32,
        _: &[SealedShare],
        _: &[Hash],
    ) -> Vec<u8> {
        z.expose().to_vec()
    }

    fn export(
        &self,
        _: &AccountId,
        _: &RegId,
        kept: &[u8],
    ) -> Option<(Secret32, Vec<SealedShare>, Vec<Hash>)> {
        Some((Secret32::new(kept.try_into().ok()?), Vec::new(), Vec::new()))
    }
}

struct Fleet {
    dir: tempfile::TempDir,
    identities: Vec<SoftwareIdentity>,
    ports: Vec<u16>,
    root: Root,
    key: RootKey,
    nodes: Vec<Option<Node>>,
    list: Option<Arc<Admission>>,
}

impl Fleet {
    fn new(n: usize) -> Self {
        let (root, key) = documents::root();
        let identities = (0..n).map(|_| SoftwareIdentity::generate()).collect();
        Self {
            dir: tempfile::tempdir().unwrap(),
            identities,
            ports: ports::free(n),
            root,
            key,
            nodes: (0..n).map(|_| None).collect(),
            list: None,
        }
    }

    fn folder(&self, i: usize) -> std::path::PathBuf {
        self.dir.path().join(region(i))
    }

    async fn start(&mut self, i: usize) {
        let peers: BTreeMap<String, String> =
            self.ports.iter().enumerate().map(|(i, p)| (region(i), format!("127.0.0.1:{p}"))).collect();
        let listen = format!("127.0.0.1:{}", self.ports[i]).parse().unwrap();
        let mut config = NodeConfig::new(self.folder(i), listen, peers, 2);
        config.volume.reserve_mib = 0; // tests copy the folder
        let verifier = Arc::new(WireVerifier::new(self.root.clone()));
        let keys = Arc::new(TestKeys(u8::try_from(i).unwrap()));
        let (key, keeper) = (self.identities[i].tls.clone(), Arc::new(TestKeeper));
        let node = Node::start(config, Env::default(), key, keys, keeper, verifier).await.unwrap();
        if let Some(list) = &self.list {
            self.admit(i, &node, list);
        }
        self.nodes[i] = Some(node);
    }

    fn admit(&self, i: usize, node: &Node, list: &Arc<Admission>) {
        node.set_service(Arc::new(BootKey::new(list, node.node(), &self.identities[i])));
        node.set_admission(list.clone());
    }

    async fn stop(&mut self, i: usize) {
        self.nodes[i].take().unwrap().shutdown().await;
    }

    fn documents(&self) -> (Admission, NewDocuments) {
        let members = self.nodes.iter().flatten().enumerate().map(|(i, n)| Member {
            region: region(i),
            slot: Slot(u8::try_from(i + 1).unwrap()),
            node: n.node(),
            identity: self.identities[i].spki.clone(),
            delivery: vec![u8::try_from(i).unwrap(); 32],
        });
        let members: Vec<Member> = members.collect();
        let list = documents::admission(&self.root, members);
        let policy = documents::policy(&self.root, 2, "{}".into());
        let documents = documents::sign(&self.key, &list, &policy);
        (list, documents)
    }

    async fn up(n: usize) -> Self {
        let mut fleet = Self::new(n);
        for i in 0..n {
            fleet.start(i).await;
        }
        let (list, documents) = fleet.documents();
        let list = Arc::new(list);
        for (i, node) in fleet.nodes.iter().flatten().enumerate() {
            fleet.admit(i, node, &list);
        }
        fleet.list = Some(list);
        let seed = fleet.nodes[0].as_ref().unwrap();
        for replica in seed.replicas() {
            replica.initialize(in_seconds(10)).await.unwrap();
        }
        let init = Init {
            fleet: fleet.root.fleet,
            lineage: fleet.root.lineage(),
            era: Era(1),
            shard: 0,
            index: Secret32::new([5; 32]),
            documents,
            version: VERSION,
        };
        for shard in 0..2u16 {
            let c = fleet.propose(shard, Command::Init(Init { shard, ..init.clone() })).await;
            assert_eq!(c.outcome, Outcome::Done);
        }
        fleet
    }

    /// Proposes at the leader until the command is committed.
    async fn propose(&self, shard: u16, command: Command) -> Committed {
        let until = in_seconds(15);
        let mut last = String::new();
        while Instant::now() < until {
            for node in self.nodes.iter().flatten() {
                let replica = node.replica(ShardId(shard)).unwrap();
                if !replica.status().borrow().lead {
                    last = format!("{:?}", *replica.status().borrow());
                    continue;
                }
                match replica.propose(command.clone(), in_seconds(5)).await {
                    Ok(c) => return c,
                    Err(e) => last = e.to_string(),
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no leader committed the command: {last}");
    }

    /// Waits until a vault leads the first shard.
    async fn leader(&self) -> usize {
        let until = in_seconds(15);
        loop {
            if let Some(leader) = (0..3).find(|i| self.replica(*i).status().borrow().lead) {
                return leader;
            }
            assert!(Instant::now() < until, "no leader");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn replica(&self, i: usize) -> &Replica {
        self.nodes[i].as_ref().unwrap().replica(ShardId(0)).unwrap()
    }

    async fn phase(&self, i: usize, want: impl Fn(&Phase) -> bool) {
        let mut status = self.replica(i).status();
        let reached =
            tokio::time::timeout(Duration::from_secs(15), status.wait_for(|s| want(&s.phase))).await;
        assert!(reached.is_ok(), "{:?}", *self.replica(i).status().borrow());
    }
}

/// A command that goes through the log and that every replica refuses alike.
fn harmless(n: u8) -> Command {
    // The first bytes are the bucket, and bucket 0 is of shard 0.
    let mut account = [n; 32];
    account[..2].fill(0);
    Command::Expire(Expire { account: AccountId(account) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_vaults_commit_and_all_apply_the_same() {
    let fleet = Fleet::up(3).await;
    let c = fleet.propose(0, harmless(1)).await;
    assert_eq!(c.outcome, Outcome::Refused(Refusal::NoKey));
    for i in 0..3 {
        fleet.replica(i).wait_applied(c.index, in_seconds(15)).await.unwrap();
        assert_eq!(fleet.replica(i).fleet().unwrap().index.expose(), &[5; 32]);
        assert_eq!(fleet.replica(i).fleet().unwrap().shard, 0);
    }
}

/// S23: the others replace a leader that stops, and it comes back without losing an acknowledged entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s23_a_leader_goes_and_comes_back() {
    let mut fleet = Fleet::up(3).await;
    let before = fleet.propose(0, harmless(1)).await;
    let leader = fleet.leader().await;
    fleet.stop(leader).await;
    let after = fleet.propose(0, harmless(2)).await;
    assert!(after.index > before.index);
    fleet.start(leader).await;
    fleet.phase(leader, |p| *p == Phase::Verified).await;
    fleet.replica(leader).wait_applied(after.index, in_seconds(15)).await.unwrap();
}

/// After all power was lost, the roll call of all three allows an election (rule 3 of `core::join::decide`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s23_after_all_power_was_lost_the_roll_call_elects() {
    let mut fleet = Fleet::up(3).await;
    let before = fleet.propose(0, harmless(1)).await;
    for i in 0..3 {
        fleet.stop(i).await;
    }
    fleet.start(0).await;
    fleet.start(1).await;
    fleet.phase(0, |p| matches!(p, Phase::Joining { missing } if missing.len() == 1)).await;
    fleet.start(2).await;
    let after = fleet.propose(0, harmless(2)).await;
    assert!(after.index > before.index);
}

/// As large as a client can make a command, and refused by every replica alike.
fn large(n: u16) -> Command {
    let mut account = [0; 32];
    account[30..].copy_from_slice(&n.to_be_bytes());
    let ack = RegionSignature { slot: Slot(1), certificate: vec![7; 512], signature: Signature([7; 64]) };
    Command::Confirm(Confirm {
        account: AccountId(account),
        reg_id: RegId([1; 16]),
        record: Hash([2; 32]),
        acknowledgements: vec![ack; 15],
        signature: Signature([3; 64]),
        subject: Hash([4; 32]),
    })
}

/// S50: a follower that was away gets many large entries. Each append must fit into a frame. The log is not purged, so no snapshot can have brought them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s50_a_follower_behind_big_entries_catches_up() {
    let mut fleet = Fleet::up(3).await;
    let before = fleet.propose(0, harmless(1)).await.index;
    let leader = fleet.leader().await;
    let away = (leader + 1) % 3;
    fleet.stop(away).await;
    let mut last = before;
    // On a busy machine the leader may hear from no majority for a moment, and then refuses what is proposed.
    while last < before + 24 {
        let replica = fleet.replica(fleet.leader().await);
        let many = (0..500).map(|n| replica.propose(large(n), in_seconds(60)));
        let done = futures_util::future::join_all(many).await;
        last = done.into_iter().flatten().map(|c| c.index).max().unwrap_or(last);
    }
    fleet.start(away).await;
    fleet.replica(away).wait_applied(last, in_seconds(120)).await.unwrap();
    fleet.phase(away, |p| *p == Phase::Verified).await;
    let leader = fleet.leader().await;
    assert_eq!(fleet.replica(leader).purged(), 0, "the entries must be in the log still");
}

/// A fleet with a vault that has started from an older copy of its own disk.
async fn with_an_older_disk() -> (Fleet, usize) {
    let mut fleet = Fleet::up(3).await;
    fleet.propose(0, harmless(1)).await;
    // Stop a follower: the leader keeps the follower's signatures on what its disk had.
    let follower = (fleet.leader().await + 1) % 3;
    fleet.stop(follower).await;
    let kept = fleet.dir.path().join("older");
    copy(&fleet.folder(follower), &kept);
    fleet.start(follower).await;
    fleet.phase(follower, |p| *p == Phase::Verified).await;
    for n in 2..8 {
        let c = fleet.propose(0, harmless(n)).await;
        fleet.replica(follower).wait_applied(c.index, in_seconds(15)).await.unwrap();
    }
    fleet.stop(follower).await;
    copy(&kept, &fleet.folder(follower));
    fleet.start(follower).await;
    (fleet, follower)
}

/// S24: a vault that starts from an older copy of its own disk is quarantined, and the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s24_an_older_disk_is_quarantined() {
    let (fleet, follower) = with_an_older_disk().await;
    fleet.phase(follower, |p| matches!(p, Phase::Quarantined(_))).await;
    fleet.propose(0, harmless(9)).await;
}

/// The root lifts the stop of a vault whose disk was older after all. The leader knows that it had more, and takes no denial. The vault shows the lift, and the next leader
/// brings it up to date.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s24_a_lifted_vault_with_an_older_disk_follows_again() {
    let (fleet, follower) = with_an_older_disk().await;
    fleet.phase(follower, |p| matches!(p, Phase::Quarantined(_))).await;
    let node = fleet.nodes[follower].as_ref().unwrap();
    let (stop, (root, key)) = (fleet.replica(follower).stopped().unwrap().id, documents::root());
    let lift = Lift { lineage: root.lineage(), era: root.era, node: node.node(), shard: 0, stop };
    let signed = sign_lift(&lift, None, &key).unwrap();
    assert!(node.lift(ShardId(0), &stop, &signed).await.unwrap());
    fleet.phase(follower, |p| *p == Phase::Verified).await;
    let c = fleet.propose(0, harmless(9)).await;
    fleet.replica(follower).wait_applied(c.index, in_seconds(15)).await.unwrap();
}

/// S24: the others have restarted and remember nothing, and an orchestrator restarts the quarantined vault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s24_a_quarantine_outlasts_a_restart() {
    let (mut fleet, follower) = with_an_older_disk().await;
    fleet.phase(follower, |p| matches!(p, Phase::Quarantined(_))).await;
    let why = fleet.replica(follower).status().borrow().phase.clone();
    for i in 0..3 {
        fleet.stop(i).await;
    }
    for i in 0..3 {
        fleet.start(i).await;
    }
    fleet.phase(follower, |p| *p == why).await;
    // The root ends this stop, and no other. The vault then catches up.
    let node = fleet.nodes[follower].as_ref().unwrap();
    let stop = fleet.replica(follower).stopped().unwrap();
    assert!(!node.lift(ShardId(0), &[7; 16], &[]).await.unwrap());
    assert!(!node.lift(ShardId(1), &stop.id, &[]).await.unwrap());
    fleet.phase(follower, |p| *p == why).await;
    assert!(node.lift(ShardId(0), &stop.id, &[]).await.unwrap());
    fleet.phase(follower, |p| *p == Phase::Verified).await;
    let c = fleet.propose(0, harmless(9)).await;
    fleet.replica(follower).wait_applied(c.index, in_seconds(15)).await.unwrap();
}

/// S26: vaults refuse a peer that is not on the admission list, whatever its address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s26_a_stranger_at_a_known_address_is_refused() {
    let mut fleet = Fleet::up(3).await;
    fleet.stop(2).await;
    fleet.identities[2] = SoftwareIdentity::generate();
    fleet.start(2).await;
    fleet.phase(2, |p| matches!(p, Phase::Joining { missing } if missing.len() == 2)).await;
    let node = fleet.list.as_ref().unwrap().members[2].node;
    let call = fleet.nodes[0]
        .as_ref()
        .unwrap()
        .peers()
        .call(node, Body::Clock(bkv_wire::proto::peer::Clock::default()), in_seconds(3))
        .await;
    assert!(matches!(call, Err(PeerError::Unreachable { .. } | PeerError::Late(_))), "{call:?}");
    assert_ne!(node, NodeId(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_vault_alone_works_too() {
    let mut fleet = Fleet::up(1).await;
    let before = fleet.propose(1, harmless(1)).await;
    fleet.stop(0).await;
    fleet.start(0).await;
    let after = fleet.propose(1, harmless(2)).await;
    assert!(after.index > before.index);
}
