//! A simulated cluster carries out actions, and the operator crashes before or after any of them. In every case there is one fleet id, one root and
//! one initialisation, and in the end a fleet.

use std::collections::BTreeMap;

use bkv_core::document::JwksSource;
use bkv_core::id::{Era, FleetId, Slot, Time};
use bkv_wire::documents::{Kind, Root, RootKey, add_signature, admission, fingerprint, policy};
use zeroize::Zeroizing;

use super::{Action, Custody, Facts, Verdict, next_actions};
use crate::journal::{Journal, JournalStage, Pinned};
use crate::observe::Signed;
use crate::validate::PullPolicy;
use crate::vaults::{Fingerprints, Vault, VaultStatus, VaultToken};
use bkv_admin_api::draft::{Draft, PolicyWish, to_sign};

/// A vault of that world.
#[derive(Clone, Debug)]
pub(super) struct Sim {
    pub up: bool,
    pub fleet: Option<String>,
    pub initialised: bool,
    pub admission: Option<u64>,
    pub policy: Option<u64>,
    pub root: Option<[u8; 32]>,
    keys: u8,
}

impl Sim {
    /// Its volumes and its token are gone; new ones are there.
    pub(super) fn lose_everything(&mut self) {
        *self = Self {
            up: true,
            fleet: None,
            initialised: false,
            admission: None,
            policy: None,
            root: None,
            keys: self.keys + 100,
        };
    }
}

/// The cluster, the vaults and the people.
pub(super) struct World {
    pub custody: Custody,
    pub now: Time,
    pub wish: PolicyWish,
    pub keys: bool,
    pub journal: Option<Journal>,
    pub vaults: BTreeMap<String, Sim>,
    pub requested: bool,
    pub remains: bool,
    pub root: Option<Vec<u8>>,
    pub documents: Signed,
    given: Signed,
    request: Vec<Draft>,
    ids: u8,
    signed: Vec<(Kind, Vec<u8>)>,
    /// Every root that was ever made and every fleet that was initialised.
    pub made: (Vec<[u8; 32]>, Vec<String>),
}

const PEOPLE: [u8; 32] = [42; 32];

fn key(seed: [u8; 32]) -> RootKey {
    RootKey::from_seed(&Zeroizing::new(seed))
}

fn point(n: u8) -> Vec<u8> {
    // A P-256 SPKI that the document's parser accepts. The parser does not check the point.
    let head = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    let mut spki = hex::decode(head).unwrap();
    spki.extend([n; 64]);
    spki
}

impl World {
    pub(super) fn new(custody: Custody) -> Self {
        let vault = |keys| Sim {
            up: true,
            fleet: None,
            initialised: false,
            admission: None,
            policy: None,
            root: None,
            keys,
        };
        Self {
            custody,
            now: Time(1_790_000_000_000),
            wish: PolicyWish {
                issuer: "https://issuer.example".into(),
                vault_audience: "v".into(),
                chatd_audience: "c".into(),
                jwks: JwksSource::Inline(r#"{"keys":[]}"#.into()),
                enrolment_claim: None,
                max: 10,
                lifetime_failures: 100,
                waits_ms: vec![0],
                token_max_age_ms: 600_000,
                bound_tokens: false,
                shards: 4,
                development: false,
            },
            keys: true,
            journal: None,
            vaults: [("a", vault(1)), ("b", vault(2)), ("c", vault(3))]
                .map(|(n, v)| (n.to_owned(), v))
                .into(),
            requested: false,
            remains: false,
            root: None,
            documents: Signed::default(),
            given: Signed::default(),
            request: Vec::new(),
            ids: 0,
            signed: Vec::new(),
            made: (Vec::new(), Vec::new()),
        }
    }

    fn root_of(seed: [u8; 32], fleet: &str) -> Root {
        let fleet: [u8; 16] = hex::decode(fleet).unwrap().try_into().unwrap();
        Root {
            keys: vec![key(seed).public()],
            threshold: 1,
            fleet: FleetId(fleet),
            era: Era(1),
            development: false,
        }
    }

    /// The fingerprint that a vault with this root reports.
    fn print(&self, seed: [u8; 32]) -> String {
        let fleet = self.journal.as_ref().map_or_else(|| "00".repeat(16), |j| j.fleet.clone());
        fingerprint("root", &Self::root_of(seed, &fleet).encode())
    }

    pub(super) fn facts(&self) -> Facts {
        let vaults = self.vaults.iter().filter(|(_, v)| v.up).map(|(region, v)| {
            let token = VaultToken {
                region: region.clone(),
                node: u64::from(v.keys),
                identity: point(v.keys),
                delivery: vec![v.keys; 32],
                fingerprints: Fingerprints::default(),
                capabilities: None,
            };
            let status = VaultStatus {
                region: region.clone(),
                ready: v.initialised,
                initialised: v.initialised,
                fleet: v.fleet.clone(),
                admission: v.admission,
                policy: v.policy,
                root_held: v.root.is_some(),
                root: v
                    .root
                    .map(|k| self.print(k))
                    .or_else(|| self.root.as_ref().map(|b| fingerprint("root", b))),
                ..VaultStatus::default()
            };
            (region.clone(), Vault { status, token: Some(token) })
        });
        Facts {
            custody: self.custody,
            regions: vec![(Slot(1), "a".into()), (Slot(2), "b".into()), (Slot(3), "c".into())],
            wish: self.keys.then(|| self.wish.clone()),
            pinned: Pinned {
                vault_image: "vault:1".into(),
                copier_image: "copier:1".into(),
                pull_policy: PullPolicy::Never,
            },
            journal: self.journal.clone(),
            remains: self.remains,
            new_id: hex::encode([self.ids; 16]),
            root: self.root.clone(),
            given_root: (self.custody == Custody::Offline)
                .then(|| Self::root_of(PEOPLE, &"0d".repeat(16)).encode()),
            documents: self.documents.clone(),
            given: self.given.clone(),
            requested: self.requested,
            vaults: vaults.collect(),
            silent: BTreeMap::new(),
            now: self.now,
        }
    }

    /// The seed's vault has made its root by the time it answers, once it knows the fleet's id.
    fn seed_makes_root(&mut self) {
        let Some(journal) = self.journal.clone().filter(|_| self.custody == Custody::InFleet) else { return };
        let count = u8::try_from(self.made.0.len()).unwrap();
        let seed = self.vaults.get_mut(&journal.seed).unwrap();
        if journal.stage == JournalStage::Begun && seed.up && seed.root.is_none() {
            let key = [count + 1; 32];
            seed.root = Some(key);
            self.made.0.push(key);
        }
    }

    fn keep(&mut self, kind: Kind, signed: Vec<u8>) {
        self.signed.push((kind, signed.clone()));
        match kind {
            Kind::Admission => self.documents.admission = Some(signed),
            Kind::Policy => self.documents.policy = Some(signed),
        }
    }

    fn sign(draft: &Draft, seed: [u8; 32]) -> (Kind, Vec<u8>) {
        let kind = draft.kind();
        (kind, add_signature(kind, &to_sign(draft).unwrap(), &key(seed)).unwrap())
    }

    /// People sign what they were asked for.
    pub(super) fn people_sign(&mut self) {
        for draft in std::mem::take(&mut self.request) {
            match Self::sign(&draft, PEOPLE) {
                (Kind::Admission, b) => self.given.admission = Some(b),
                (Kind::Policy, b) => self.given.policy = Some(b),
            }
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::WriteJournal(j) => {
                self.ids += 1;
                self.journal.get_or_insert_with(|| j.clone());
            }
            Action::Advance(stage) => {
                let journal = self.journal.as_mut().unwrap();
                assert!(*stage > journal.stage, "the journal goes back");
                journal.stage = *stage;
            }
            Action::PublishRoot { region } => {
                let fleet = self.journal.as_ref().unwrap().fleet.clone();
                let seed = self.vaults[region].root.unwrap();
                self.root.get_or_insert(Self::root_of(seed, &fleet).encode());
            }
            Action::PublishGivenRoot(bytes) => {
                self.root.get_or_insert(bytes.clone());
            }
            Action::Sign { region, draft } => {
                let (kind, signed) = Self::sign(draft, self.vaults[region].root.unwrap());
                self.keep(kind, signed);
            }
            Action::AskForSignatures(drafts) => {
                self.request.clone_from(drafts);
                self.requested = true;
            }
            Action::WithdrawRequest => self.requested = false,
            // Every vault that has it has the newest: the sim keeps what it signed last.
            Action::Recover { kind, .. } => {
                let signed = self.signed.iter().rev().find(|(k, _)| k == kind).map(|(_, b)| b.clone());
                self.keep(*kind, signed.unwrap());
            }
            Action::KeepSigned { kind, signed } => self.keep(*kind, signed.clone()),
            Action::Install { region, kind, signed } => {
                let root = Root::decode(self.root.as_ref().unwrap()).unwrap();
                let vault = self.vaults.get_mut(region).unwrap();
                let (slot, number) = match kind {
                    Kind::Admission => {
                        (&mut vault.admission, admission(&root, signed, Some(self.now)).unwrap().number)
                    }
                    Kind::Policy => {
                        (&mut vault.policy, policy(&root, signed, Some(self.now)).unwrap().number)
                    }
                };
                assert!(slot.is_none_or(|n| n <= number), "numbers only grow");
                *slot = Some(number);
            }
            Action::Initialise { region } => {
                assert!(
                    self.vaults.values().all(|v| v.admission.is_some() && v.policy.is_some()),
                    "documents first"
                );
                assert_eq!(self.journal.as_ref().unwrap().stage, JournalStage::Initialising, "write-ahead");
                let id = self.journal.as_ref().unwrap().fleet.clone();
                if !self.vaults[region].initialised {
                    self.made.1.push(id.clone());
                }
                for vault in self.vaults.values_mut() {
                    (vault.initialised, vault.fleet) = (true, Some(id.clone()));
                }
            }
            Action::HandRootOver { from, to, .. } => {
                let key = self.vaults[from].root;
                self.vaults.get_mut(to).unwrap().root = key;
            }
        }
    }

    /// One pass; dies after so many actions. True if something was done.
    fn pass(&mut self, die_after: usize) -> bool {
        self.seed_makes_root();
        let decision = next_actions(&self.facts());
        // The stage act also skips an action whose effect is already there.
        let open = |a: &Action| match a {
            Action::AskForSignatures(drafts) => !self.requested || self.request.len() != drafts.len(),
            _ => true,
        };
        let doing: Vec<_> = decision.actions.into_iter().filter(open).collect();
        for action in doing.iter().take(die_after) {
            self.act(action);
        }
        !doing.is_empty()
    }

    /// Until nothing is left to do.
    pub(super) fn run(&mut self) {
        for _ in 0..60 {
            if !self.pass(usize::MAX) {
                return;
            }
        }
        let facts = self.facts();
        panic!("it never ends: {:?}", next_actions(&facts));
    }
}

/// Scenario 2 in small: dead before each single action, and in the middle of each pass.
#[test]
fn an_operator_that_dies_anywhere_ends_with_one_root_and_one_fleet() {
    for custody in [Custody::InFleet, Custody::Offline] {
        for first in 0..12usize {
            for step in 0..3usize {
                let mut world = World::new(custody);
                for pass in 0..80 {
                    // Some passes are cut short after `step` actions, the others run.
                    world.pass(if pass % (first + 1) == first { usize::MAX } else { step });
                    if custody == Custody::Offline && pass == 20 {
                        world.people_sign();
                    }
                }
                world.people_sign();
                world.run();
                let facts = world.facts();
                let decision = next_actions(&facts);
                assert_eq!(decision.verdict, Verdict::Made, "{custody:?} {first} {step}: {decision:?}");
                assert!(world.made.0.len() <= 1 && world.made.1.len() == 1, "{:?}", world.made);
                let held = world.vaults.values().filter(|v| v.root.is_some()).count();
                assert_eq!(held, if custody == Custody::InFleet { 3 } else { 0 });
            }
        }
    }
}

/// Vaults fail and return during the bootstrap.
#[test]
fn vaults_that_are_away_delay_and_never_derail() {
    for seed in 0..200u32 {
        let mut world = World::new(Custody::InFleet);
        let mut random = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        for _ in 0..100 {
            for vault in world.vaults.values_mut() {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                vault.up = random >> 30 != 0;
            }
            world.pass(usize::MAX);
        }
        for vault in world.vaults.values_mut() {
            vault.up = true;
        }
        world.run();
        assert_eq!(next_actions(&world.facts()).verdict, Verdict::Made, "seed {seed}");
        assert!(world.made.0.len() == 1 && world.made.1.len() == 1, "seed {seed}: {:?}", world.made);
    }
}
