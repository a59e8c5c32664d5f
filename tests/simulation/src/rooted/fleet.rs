//! Three vaults with real stores and real TLS on loopback. All begin honest. Then the attacker takes over the first, which leads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bkv_core::account::Account;
use bkv_core::checkpoint::{Certificate, Checkpoint};
use bkv_core::command::{Command, Init, VERSION};
use bkv_core::digest::{Digest, RowNumbers};
use bkv_core::document::{Admission, JwksSource, Member, NewDocuments, Policy};
use bkv_core::id::{AccountId, Hash, RegId, ShardId, Signature, Slot, Time};
use bkv_core::outcome::Outcome;
use bkv_core::record::{AttemptPolicy, KsfParams, Record, SealedShare};
use bkv_core::secret::Secret32;
use bkv_core::signature::RegionSignature;
use bkv_core::statement;
use bkv_crypto::delivery::DeliveryKey;
use bkv_fixtures::SoftwareIdentity;
use bkv_hsm::TokenError;
use bkv_wire::documents::{Kind, Root, RootKey, add_signature, unsigned, write_admission, write_policy};
use bkv_wire::verifier::WireVerifier;
use sha2::Digest as _;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use super::leader::Leader;
use crate::boot_key::BootKey;
use crate::documents::root;
use crate::ports;
use bkv_vault::raft::keeper::Keeper;
use bkv_vault::raft::snapshot::{Head, Row};
use bkv_vault::replica::{Env, Node, NodeConfig, PeerService as _, Phase, Replica};
use bkv_vault::store::DataKeys;

/// The vault that the attacker takes over.
pub const ROOTED: usize = 0;
/// The honest vaults.
pub const HONEST: [usize; 2] = [1, 2];
/// Attempts between two successes.
pub const BUDGET: u32 = 6;

/// A vault's data keys, in software. They follow from its number.
pub struct SoftKeys(pub u8);

impl DataKeys for SoftKeys {
    fn data_key(&self, info: &[u8]) -> Result<Zeroizing<[u8; 32]>, TokenError> {
        let digest: [u8; 32] = sha2::Sha256::new_with_prefix([self.0]).chain_update(info).finalize().into();
        Ok(Zeroizing::new(digest))
    }
}

/// Keeps secrets without a mask: the mask is not under attack here.
#[derive(Default)]
struct SoftKeeper {
    /// The token does not answer.
    away: Arc<AtomicBool>,
}

impl Keeper for SoftKeeper {
    fn keep(
        &self,
        _: &AccountId,
        _: &RegId,
        _: &Record,
        z: &Secret32,
        shares: &[SealedShare],
        hashes: &[Hash],
    ) -> Vec<u8> {
        minicbor::to_vec((z, shares, hashes)).unwrap()
    }

    fn export(
        &self,
        _: &AccountId,
        _: &RegId,
        kept: &[u8],
    ) -> Option<(Secret32, Vec<SealedShare>, Vec<Hash>)> {
        (!self.away.load(Ordering::Relaxed)).then(|| minicbor::decode(kept).ok())?
    }
}

/// A vault's keys, in software.
pub struct Keys {
    pub identity: SoftwareIdentity,
    pub delivery: DeliveryKey,
}

impl Keys {
    pub fn generate() -> Self {
        Self { identity: SoftwareIdentity::generate(), delivery: DeliveryKey::generate().unwrap() }
    }
}

pub struct Fleet {
    dir: tempfile::TempDir,
    addresses: BTreeMap<String, String>,
    shards: u16,
    pub keys: Vec<Keys>,
    pub root: Root,
    pub list: Arc<Admission>,
    pub policy: Policy,
    /// Set while the tokens of the honest vaults do not answer.
    pub tokens_away: Arc<AtomicBool>,
    pub boot: Vec<Arc<BootKey>>,
    nodes: Vec<Option<Node>>,
}

/// The name of a vault's region, and of its folder.
pub fn region(i: usize) -> String {
    format!("region-{i}")
}

pub fn soon(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

pub fn now() -> Time {
    Time(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap())
}

/// The documents, signed by the given key, which need not be the root's.
pub fn signed(list: &Admission, policy: &Policy, by: &RootKey) -> NewDocuments {
    let sign = |kind, body| add_signature(kind, &unsigned(kind, body), by).unwrap();
    NewDocuments {
        admission: sign(Kind::Admission, write_admission(list).unwrap()),
        policy: sign(Kind::Policy, write_policy(policy).unwrap()),
    }
}

fn policy(root: &Root, shards: u16) -> Policy {
    Policy {
        lineage: root.lineage(),
        era: root.era,
        number: 1,
        not_before: Time(0),
        not_after: Time(u64::MAX / 2),
        issuer: "i".into(),
        vault_audience: "v".into(),
        chatd_audience: "c".into(),
        jwks: JwksSource::Inline("{}".into()),
        enrolment_claim: None,
        attempts: AttemptPolicy {
            max: BUDGET,
            lifetime_failures: 100,
            waits_ms: vec![],
            last_try_ms: 600_000,
            attempt_ms: 600_000,
        },
        store_ms: 600_000,
        ksf_floor: KsfParams { memory_kib: 8, passes: 1, lanes: 1 },
        ksf_ceiling: KsfParams { memory_kib: 1 << 20, passes: 9, lanes: 9 },
        token_max_age_ms: 86_400_000,
        bound_tokens: false,
        shards,
        hash: Hash([0; 32]),
        development: true,
    }
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for f in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(f.path(), to.join(f.file_name())).unwrap();
    }
}

/// Starts a vault from its folder.
async fn start(
    i: usize,
    dir: &Path,
    addresses: &BTreeMap<String, String>,
    shards: u16,
    root: &Root,
    keys: &Keys,
    tokens_away: &Arc<AtomicBool>,
) -> Node {
    let listen = addresses[&region(i)].parse().unwrap();
    let mut config = NodeConfig::new(dir.join(region(i)), listen, addresses.clone(), shards);
    config.patience = Duration::from_secs(1);
    config.volume.reserve_mib = 0;
    if i != ROOTED {
        // The first vault must lead.
        (config.raft.election_min_ms, config.raft.election_max_ms) = (3000, 4000);
    }
    let verifier = Arc::new(WireVerifier::new(root.clone()));
    let soft = Arc::new(SoftKeys(u8::try_from(i).unwrap()));
    let keeper = Arc::new(SoftKeeper { away: tokens_away.clone() });
    let key = keys.identity.tls.clone();
    Node::start(config, Env::default(), key, soft, keeper, verifier).await.unwrap()
}

/// Starts vault `i` of a fleet of one shard alone on its disk, which is its folder in `dir`. Without an admission list it joins nothing.
pub async fn alone(i: usize, dir: &Path) -> Node {
    let addresses = BTreeMap::from([(region(i), "127.0.0.1:0".to_owned())]);
    start(i, dir, &addresses, 1, &root().0, &Keys::generate(), &Arc::default()).await
}

impl Fleet {
    /// Starts all three vaults, lets the first lead every shard, then stops its software. The attacker has its keys and its log.
    pub async fn taken_over(shards: u16) -> (Self, Leader) {
        let addresses: BTreeMap<String, String> =
            ports::free(3).iter().enumerate().map(|(i, p)| (region(i), format!("127.0.0.1:{p}"))).collect();
        let (root, key) = root();
        let dir = tempfile::tempdir().unwrap();
        let keys: Vec<Keys> = (0..3).map(|_| Keys::generate()).collect();
        let tokens_away = Arc::new(AtomicBool::new(false));
        let mut nodes = Vec::new();
        for (at, keys) in keys.iter().enumerate() {
            let started = start(at, dir.path(), &addresses, shards, &root, keys, &tokens_away).await;
            nodes.push(Some(started));
        }
        let members = nodes.iter().flatten().zip(&keys).zip(1u8..).map(|((n, k), slot)| Member {
            region: region(usize::from(slot) - 1),
            slot: Slot(slot),
            node: n.node(),
            identity: k.identity.spki.clone(),
            delivery: k.delivery.public().to_vec(),
        });
        let list = Arc::new(Admission {
            lineage: root.lineage(),
            era: root.era,
            number: 1,
            not_before: Time(0),
            not_after: Time(u64::MAX / 2),
            threshold: 2,
            members: members.collect(),
            hash: Hash([0; 32]),
        });
        let policy = policy(&root, shards);
        let boot = keys.iter().zip(&list.members).map(|(k, m)| BootKey::new(&list, m.node, &k.identity));
        let boot: Vec<Arc<BootKey>> = boot.map(Arc::new).collect();
        let documents = signed(&list, &policy, &key);
        let of = addresses.clone();
        let mut fleet =
            Self { dir, addresses: of, shards, keys, root, list, policy, tokens_away, boot, nodes };
        for i in 0..3 {
            fleet.admit(i);
        }
        fleet.begin(&documents).await;
        let leader = fleet.take_over(addresses).await;
        (fleet, leader)
    }

    fn admit(&self, i: usize) {
        self.node(i).set_service(self.boot[i].clone());
        self.node(i).set_admission(self.list.clone());
    }

    /// Stops an honest vault and starts it again from its disk.
    pub async fn restart(&mut self, i: usize) {
        self.stop(i).await;
        self.start(i).await;
    }

    /// Keeps a copy of an honest vault's disk. The vault starts again.
    pub async fn keep_disk(&mut self, i: usize) {
        self.stop(i).await;
        copy(&self.dir.path().join(region(i)), &self.dir.path().join("kept"));
        self.start(i).await;
    }

    /// Sets an honest vault's disk back to the copy that was kept, and starts the vault again.
    pub async fn set_disk_back(&mut self, i: usize) {
        self.stop(i).await;
        let disk = self.dir.path().join(region(i));
        std::fs::remove_dir_all(&disk).unwrap();
        copy(&self.dir.path().join("kept"), &disk);
        self.start(i).await;
    }

    /// Stops an honest vault. Returns its disk.
    pub async fn stop(&mut self, i: usize) -> PathBuf {
        self.nodes[i].take().unwrap().shutdown().await;
        self.dir.path().join(region(i))
    }

    async fn start(&mut self, i: usize) {
        let (dir, keys) = (self.dir.path(), &self.keys[i]);
        let again = start(i, dir, &self.addresses, self.shards, &self.root, keys, &self.tokens_away).await;
        self.nodes[i] = Some(again);
        self.admit(i);
    }

    async fn begin(&self, documents: &NewDocuments) {
        // On a busy machine the first vault may be silent for longer than any election timeout.
        for honest in HONEST.iter().flat_map(|i| self.node(*i).replicas()) {
            let mut status = honest.status();
            let verified = status.wait_for(|s| s.phase == Phase::Verified);
            timeout(Duration::from_mins(1), verified).await.unwrap().unwrap();
            honest.stand_for_election(false);
        }
        for replica in self.nodes[ROOTED].as_ref().unwrap().replicas() {
            replica.initialize(soon(60)).await.unwrap();
            let mut status = replica.status();
            timeout(Duration::from_mins(1), status.wait_for(|s| s.lead)).await.unwrap().unwrap();
            let init = Init {
                fleet: self.root.fleet,
                lineage: self.root.lineage(),
                era: self.root.era,
                shard: replica.shard().0,
                index: Secret32::new([5; 32]),
                documents: documents.clone(),
                version: VERSION,
            };
            let until = soon(60);
            // On a busy machine the leader may hear no majority for a moment. A repeated Init changes nothing.
            let done = loop {
                match replica.propose(Command::Init(init.clone()), until).await {
                    Ok(done) => break done,
                    Err(e) => assert!(Instant::now() < until, "{e:?}"),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            assert_eq!(done.outcome, Outcome::Done);
        }
    }

    async fn take_over(&mut self, addresses: BTreeMap<String, String>) -> Leader {
        let rooted = self.nodes[ROOTED].take().unwrap();
        let mut heads = BTreeMap::new();
        for replica in rooted.replicas() {
            let (shard, last) = (replica.shard(), replica.applied());
            for i in HONEST {
                let honest = self.replica(i, shard.0);
                honest.wait_applied(last, soon(60)).await.unwrap();
                let mut status = honest.status();
                let verified = status.wait_for(|s| s.phase == Phase::Verified);
                timeout(Duration::from_mins(1), verified).await.unwrap().unwrap();
            }
            let vote = replica.raft().unwrap().metrics().borrow().vote;
            heads.insert(shard.0, (vote, replica.state().log().last().unwrap()));
        }
        let node = rooted.node();
        rooted.shutdown().await;
        Leader::new(node, self, addresses, heads).await
    }

    /// A vault's signature on a checkpoint. The attacker has its own vault's; a test of what t signatures can do has the others' too.
    pub fn sign(&self, i: usize, checkpoint: &Checkpoint) -> RegionSignature {
        self.sign_as(i, |slot| statement::checkpoint(checkpoint, slot))
    }

    /// A vault's signature on any statement.
    pub fn sign_as(&self, i: usize, statement: impl Fn(Slot) -> Vec<u8>) -> RegionSignature {
        let slot = self.list.members[i].slot;
        let (certificate, signature) = self.boot[i].sign(&statement(slot)).unwrap();
        let signature = Signature(signature[..].try_into().unwrap());
        RegionSignature { slot, certificate: certificate.to_vec(), signature }
    }

    /// A checkpoint with the signatures of these vaults.
    pub fn certificate(&self, checkpoint: &Checkpoint, by: &[usize]) -> Certificate {
        let signatures = by.iter().map(|i| self.sign(*i, checkpoint)).collect();
        Certificate { checkpoint: checkpoint.clone(), signatures }
    }

    /// Makes head and rows of a snapshot fit each other again, under the signatures of these vaults.
    pub fn certify(&self, (head, rows): &mut (Head, Vec<Row>), by: &[usize]) {
        let mut digest = Digest::default();
        for r in &*rows {
            digest.add(&RowNumbers::of(&r.id, &r.account));
        }
        let mut checkpoint = head.certificate.checkpoint.clone();
        (checkpoint.rows, checkpoint.digest) = (digest.rows(), head.digest_with(&digest));
        checkpoint.list = head.fleet.documents.admission.number;
        head.certificate = self.certificate(&checkpoint, by);
    }

    pub fn node(&self, i: usize) -> &Node {
        self.nodes[i].as_ref().unwrap()
    }

    pub fn replica(&self, i: usize, shard: u16) -> &Replica {
        self.node(i).replica(ShardId(shard)).unwrap()
    }

    /// An account as an honest vault has applied it.
    pub fn account(&self, i: usize, shard: u16, id: &AccountId) -> Option<Account> {
        self.replica(i, shard).account(id).unwrap().map(|a| Account::clone(&a))
    }

    pub fn phase(&self, i: usize, shard: u16) -> Phase {
        self.replica(i, shard).status().borrow().phase.clone()
    }
}
