//! Three vaults in one process. Each has a real token, a disk that loses what was not synced, a network with faults and a clock of its own. The client's SDK
//! talks to them without ChatD. Only the disk, the network and the clock are simulated.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bkv_client::{
    Client, OsRandom, Runtime, SoftwareTokenKey, Timing, TokenKey as _, TokioClock, VolatileMemory, Zeroizing,
};
use bkv_core::account::Account;
use bkv_core::command::{Command, Init, VERSION};
use bkv_core::document::{Member, NewDocuments, Policy};
use bkv_core::id::{AccountId, Era, Route, Slot};
use bkv_core::outcome::Outcome;
use bkv_core::possession::{Use, token_hash};
use bkv_core::secret::Secret32;
use bkv_core::statement;
use bkv_core::version::Versions;
use bkv_mtls::issue::RoleCa;
use bkv_mtls::{Identity, Role, RoleName};
use bkv_tokens::Subject;
use bkv_tokens::dev::{DevClaims, DevIssuer};
use bkv_vault::replica::{Phase, Replica};
use bkv_vault::service::Vault;
use bkv_wire::documents::Kind;
use bkv_wire::proto::inner::Proof;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::disk::{self, Image};
use crate::documents::{self, ISSUER, VAULT_AUDIENCE};
use crate::faulty_keeper::Faults;
use crate::machine::{self, Machine, Process};
use crate::network::Hub;
use crate::transport::{VaultTransport, Vaults};
use crate::witness::Witness;

/// The right password of every account.
pub const RIGHT: &str = "quiet otter paints the north window";
/// How long an operation may take.
const SOON: Duration = Duration::from_secs(20);
/// How long a state that must come may take. Fuzzers run with the lowest priority on busy machines.
const PATIENCE: Duration = Duration::from_mins(1);
/// After this time an election that was asked for has ended.
const ELECTED: Duration = Duration::from_secs(3);

/// Three vaults and their environment.
pub struct Simulation {
    pub dir: PathBuf,
    pub hub: Hub,
    pub witness: Arc<Witness>,
    pub machines: Vec<Machine>,
    pub vaults: Vaults,
    pub issuer: DevIssuer,
    /// Issues the vaults' role certificates.
    pub roles: RoleCa,
    pub documents: NewDocuments,
    /// All persons' tokens are bound to this key.
    pub token_key: Option<Arc<SoftwareTokenKey>>,
}

/// What a test may change.
#[derive(Default)]
pub struct Options {
    /// The witness records the durable content of every disk at each evaluation.
    pub images: bool,
    /// Changes the policy.
    pub policy: Option<fn(&mut Policy)>,
    /// The vaults neither compare clocks nor expire deadlines. For properties that must hold before they do.
    pub no_chores: bool,
    /// All persons' tokens are bound to one key. The policy may ask for it or not.
    pub bound: bool,
    /// How long a call into a token may take, milliseconds. The default is long, so that a busy machine does not look like a hung token.
    pub token_ms: Option<u64>,
    /// Seconds between purges of the log.
    pub snapshot_every_s: Option<u64>,
}

impl Simulation {
    /// Starts the vaults, initialises the shard and waits for a leader.
    pub async fn up(dir: PathBuf, options: Options) -> Self {
        let hub = Hub::new(3, tokio::runtime::Handle::current());
        let witness = Witness::new(options.images);
        let (root, key) = documents::root();
        let roles = RoleCa::generate().unwrap();
        let issuer = DevIssuer::generate(ISSUER).unwrap();
        let mut machines = Vec::new();
        for number in 0..3 {
            let folder = dir.join(format!("role-{number}"));
            std::fs::create_dir(&folder).unwrap();
            let name = RoleName::new(Role::Vault, &documents::region(number)).unwrap();
            let files = roles.write_role(&folder, &name, Duration::from_hours(24)).unwrap();
            machines.push(Machine {
                number,
                token: machine::provision(dir.clone(), number, options.token_ms.unwrap_or(10_000)).await,
                clock: crate::clock::TestClock::default(),
                role: Identity::load(files).unwrap(),
                root: root.clone(),
                hub: hub.clone(),
                witness: witness.clone(),
                folder,
                chores: !options.no_chores,
                snapshot_every_s: options.snapshot_every_s,
                secrets: Faults::default(),
                versions: Mutex::new(Versions::OF_THIS_PROGRAM),
                exports: Arc::default(),
            });
        }
        let vaults = Vaults::default();
        let none = NewDocuments { admission: Vec::new(), policy: Vec::new() };
        let token_key = options.bound.then(token_key);
        let mut sim = Self { dir, hub, witness, machines, vaults, issuer, roles, documents: none, token_key };
        for i in 0..3 {
            sim.start_from(i, Image::default()).await;
        }
        let mut members = Vec::new();
        for (i, machine) in sim.machines.iter().enumerate() {
            let vault = sim.vault(i);
            members.push(Member {
                region: documents::region(i),
                slot: Slot(u8::try_from(i + 1).unwrap()),
                node: vault.node().node(),
                identity: machine.token.identity_spki().await.unwrap(),
                delivery: vault.delivery_public().to_vec(),
            });
        }
        let list = documents::admission(&root, members);
        let mut policy = documents::policy(&root, 1, sim.issuer.jwks());
        if let Some(change) = options.policy {
            change(&mut policy);
        }
        sim.documents = documents::sign(&key, &list, &policy);
        for i in 0..3 {
            let vault = sim.vault(i);
            let (a, p) = (sim.documents.admission.clone(), sim.documents.policy.clone());
            let install = async move {
                let stop = CancellationToken::new();
                vault.install(Kind::Admission, a, &stop).await.unwrap();
                vault.install(Kind::Policy, p, &stop).await.unwrap();
            };
            sim.handle(i).spawn(install).await.unwrap();
        }
        sim.replica(0).initialize(patient()).await.unwrap();
        let init = Init {
            fleet: root.fleet,
            lineage: root.lineage(),
            era: Era(1),
            shard: 0,
            index: Secret32::new([5; 32]),
            documents: sim.documents.clone(),
            version: VERSION,
        };
        let until = patient();
        // On a busy machine the leader may hear no majority for a moment, or be replaced. A repeated Init changes nothing.
        let done = loop {
            let leader = sim.leader().await;
            match sim.replica(leader).propose(Command::Init(init.clone()), until).await {
                Ok(done) => break done,
                Err(e) => assert!(Instant::now() < until, "{e:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(done.outcome, Outcome::Done);
        for i in 0..3 {
            sim.replica(i).wait_durable(done.index, patient()).await.unwrap();
        }
        sim
    }

    /// Starts a vault's process from a disk image.
    pub async fn start_from(&self, i: usize, image: Image) {
        self.start_with(i, image, disk::Fault::None).await;
    }

    /// The same, on a disk with this fault.
    pub async fn start_with(&self, i: usize, image: Image, fault: disk::Fault) {
        let process = self.machines[i].start(image, fault).await;
        self.witness.disk(i, process.disk.clone());
        self.vaults.put(i, process);
    }

    /// Kills the process and cuts the power of its machine: what was not synced is lost. Returns what its disk holds.
    pub fn crash(&self, i: usize) -> Image {
        let process = self.vaults.take(i).unwrap();
        process.alive.store(false, Ordering::SeqCst);
        process.disk.set(disk::Fault::Dead);
        self.hub.kill(i);
        process.disk.image()
    }

    /// Stops a vault in order. If it was verified, its token has an anchor afterwards. Returns what its disk holds.
    pub async fn stop(&self, i: usize) -> Image {
        let image = self.vaults.take(i).unwrap().stop_in_order().await;
        self.hub.kill(i);
        image
    }

    /// Gives a vault another program: stops it in order and starts one that can apply these versions of the state.
    pub async fn update(&self, i: usize, versions: Versions) {
        let image = self.stop(i).await;
        *self.machines[i].versions.lock().unwrap() = versions;
        self.start_from(i, image).await;
    }

    /// Crash and start again.
    pub async fn restart(&self, i: usize) {
        let image = self.crash(i);
        self.start_from(i, image).await;
    }

    /// All three machines lose power at once, then start again.
    pub async fn restart_all(&self) {
        let images: Vec<Image> = (0..3).map(|i| self.crash(i)).collect();
        for (i, image) in images.into_iter().enumerate() {
            self.start_from(i, image).await;
        }
    }

    pub fn vault(&self, i: usize) -> Arc<Vault> {
        self.vaults.with(i, |p| p.vault.clone()).unwrap()
    }

    pub fn disk(&self, i: usize) -> disk::Disk {
        self.vaults.with(i, |p| p.disk.clone()).unwrap()
    }

    pub fn handle(&self, i: usize) -> tokio::runtime::Handle {
        self.vaults.with(i, Process::handle).unwrap()
    }

    pub fn replica(&self, i: usize) -> Replica {
        self.vault(i).node().replicas()[0].clone()
    }

    /// Cuts the power of a vault's machine at the nth sync of its disk from now.
    pub fn trap(&self, i: usize, nth: u64, side: disk::Side) {
        let (hub, alive) = (self.hub.clone(), self.vaults.with(i, |p| p.alive.clone()).unwrap());
        self.disk(i).trap(nth, side, move || {
            alive.store(false, Ordering::SeqCst);
            hub.kill(i);
        });
    }

    pub fn alive(&self, i: usize) -> bool {
        self.vaults.with(i, Process::alive).unwrap_or(false)
    }

    /// Waits for a leader.
    pub async fn leader(&self) -> usize {
        let leads = || (0..3).find(|i| self.alive(*i) && self.replica(*i).status().borrow().lead);
        eventually("a leader", leads).await
    }

    /// Lets the others step down and asks for this vault's election, until it leads. Left to chance, the other two could take turns for long.
    pub async fn lead(&self, i: usize) {
        let until = patient();
        loop {
            let leader = self.leader().await;
            if leader == i {
                return;
            }
            assert!(Instant::now() < until, "vault {i} was never elected");
            self.replica(leader).step_down();
            if let Some(raft) = self.replica(i).raft() {
                let _ = raft.trigger().elect().await;
            }
            // Refused while the third vault still counts on the old leader, so it is asked for again, but only after the election has ended: another one would end it, and a vault
            // grants a peer three votes a minute.
            let mut status = self.replica(i).status();
            let _ = tokio::time::timeout(ELECTED, status.wait_for(|s| s.lead)).await;
        }
    }

    /// Waits until a vault serves.
    pub async fn verified(&self, i: usize) {
        let mut status = self.replica(i).status();
        let reached = tokio::time::timeout(PATIENCE, status.wait_for(|s| s.phase == Phase::Verified)).await;
        assert!(reached.is_ok(), "vault {i}: {:?}", *self.replica(i).status().borrow());
    }

    /// Waits until all three have applied the same log.
    pub async fn settle(&self) {
        for i in 0..3 {
            self.verified(i).await;
        }
        let same = || {
            let a: Vec<u64> = (0..3).map(|i| self.replica(i).applied()).collect();
            let leads = (0..3).any(|i| self.replica(i).status().borrow().lead);
            (leads && a.iter().all(|x| *x == a[0])).then_some(())
        };
        eventually("all have applied the same", same).await;
    }

    fn claims(subject: &str) -> DevClaims<'_> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        // Valid also for vaults whose clocks are off by hours.
        let (now, lifetime) = (now - 7200, 14_400);
        DevClaims { subject, audience: VAULT_AUDIENCE, now, lifetime, enrolment: None }
    }

    pub fn token(&self, subject: &str) -> String {
        let claims = Self::claims(subject);
        match &self.token_key {
            Some(key) => self.issuer.sign_bound(&claims, &key.public().jkt()),
            None => self.issuer.sign(&claims),
        }
    }

    /// A token that is bound to no key.
    pub fn bearer_token(&self, subject: &str) -> String {
        self.issuer.sign(&Self::claims(subject))
    }

    /// A later token of the person, bound to the same key.
    pub fn later_token(&self, subject: &str) -> String {
        let claims = Self::claims(subject);
        let later = DevClaims { lifetime: claims.lifetime + 1, ..claims };
        self.issuer.sign_bound(&later, &self.token_key.as_ref().unwrap().public().jkt())
    }

    /// What the key of this person's token signs for this use beside the token, in the session with this nonce.
    pub async fn proof(&self, subject: &str, token: &str, nonce: &[u8; 32], what: &Use<'_>) -> Proof {
        let key = self.token_key.as_ref().unwrap();
        let (root, _) = documents::root();
        let tag = statement::subject(nonce, ISSUER, subject, 0);
        let signature =
            key.sign(&what.statement(&root.lineage(), root.era, &tag, &token_hash(token))).await.unwrap();
        let public = key.public();
        Proof { key: public.as_bytes().to_vec().into(), signature: signature.to_vec().into() }
    }

    pub fn route(subject: &str) -> Route {
        statement::route(ISSUER, subject)
    }

    pub fn id(&self, subject: &str) -> AccountId {
        let fleet = (0..3).find_map(|i| self.replica(i).fleet()).unwrap();
        let subject = Subject { issuer: ISSUER.into(), subject: subject.into(), enrolment: None };
        Vault::account_id(&fleet, &subject)
    }

    /// The account as vault i has applied it.
    pub fn account(&self, i: usize, subject: &str) -> Option<Account> {
        self.replica(i).account(&self.id(subject)).unwrap().map(|a| Account::clone(&a))
    }

    /// A transport that carries a client's frames to the leader.
    pub fn transport(&self, subject: &str) -> Arc<VaultTransport> {
        Arc::new(VaultTransport::new(self.vaults.clone(), Self::route(subject), &self.documents))
    }

    pub fn client_over(&self, subject: &str, transport: Arc<VaultTransport>) -> Client {
        self.client_with(&self.token(subject), self.token_key.clone(), transport)
    }

    /// A client with this token, which may not fit the key.
    pub fn client_with(
        &self,
        token: &str,
        key: Option<Arc<SoftwareTokenKey>>,
        transport: Arc<VaultTransport>,
    ) -> Client {
        let fleet = bkv_client::Fleet::new(documents::root().0, VolatileMemory::default());
        let runtime =
            Runtime { transport, clock: Arc::new(TokioClock::default()), random: Arc::new(OsRandom) };
        let timing = Timing { deadline: SOON, ..Timing::default() };
        let token = Zeroizing::new(token.to_owned());
        let client = Client::new(Arc::new(fleet), runtime, token).with_timing(timing);
        match key {
            Some(key) => client.with_token_key(key),
            None => client,
        }
    }

    pub fn client(&self, subject: &str) -> Client {
        self.client_over(subject, self.transport(subject))
    }

    /// Registers a key under the right password.
    pub async fn register(&self, subject: &str) -> bkv_client::BackupKey {
        let client = self.client(subject);
        let key = client.register(RIGHT, bkv_client::RegisterOptions::default()).await.unwrap().key;
        self.settle().await;
        key
    }

    /// Shuts down in order: a process that exits while threads are inside a PKCS#11 module crashes in the module's clean-up.
    pub async fn down(self) {
        for i in 0..3 {
            drop(self.vaults.take(i));
            self.hub.kill(i);
        }
        let tokens: Vec<_> = self.machines.into_iter().map(|m| m.token).collect();
        // A token that hung may not close in time. That loses nothing.
        let close = || tokens.into_iter().map(bkv_hsm::Token::close).filter(|closed| !closed).count();
        tokio::task::spawn_blocking(close).await.unwrap();
    }
}

/// A new key to which tokens can be bound.
pub fn token_key() -> Arc<SoftwareTokenKey> {
    let pem = SoftwareTokenKey::generate().unwrap();
    Arc::new(SoftwareTokenKey::from_pem(&pem).unwrap())
}

pub fn soon() -> Instant {
    Instant::now() + SOON
}

fn patient() -> Instant {
    Instant::now() + PATIENCE
}

/// Waits for a condition, with a deadline.
pub async fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let until = patient();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < until, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
