//! A vault's handling of each request. `core` decides, and knobs make answers wrong.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use bkv_client::{Manifest, State as AccountState, TransportError};
use bkv_core::account::Account;
use bkv_core::command::{
    Begin, Command, Confirm, Delete, Finish, GiveUp, NewDocuments, OwnerSignature, RegionSignature,
    SetManifest, Store,
};
use bkv_core::document::{Admission, Policy};
use bkv_core::effect::{Outcome, Refusal};
use bkv_core::id::*;
use bkv_core::record::{KsfParams, Record, SealedShare, shares_hash};
use bkv_core::secret::Secret32;
use bkv_core::statement::{self, ReceiptKind};
use bkv_core::view;
use bkv_crypto::opaque::Server;
use bkv_crypto::reply;
use bkv_wire::channel::ServerSettings;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};
use bkv_wire::proto::outer;
use ed25519_dalek::Signer as _;
use prost::Message as _;
use rand::RngCore as _;

use super::evaluation::Lie;
use super::keys::{self, Region, START};
use super::shard::Applied;

/// The person's token: issuer `https://issuer.example`, subject `alice`.
pub const TOKEN: &str =
    "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoiYWxpY2UifQ.c2lnbmVk";
/// A fresh token of the same person.
pub const FRESH: &str =
    "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoiYWxpY2UifQ.ZnJlc2g";
/// The attacker's own token, of the same issuer for the subject `mallory`.
pub const MALLORY: &str =
    "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoibWFsbG9yeSJ9.c2lnbmVk";

/// What happens to a request's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Reset before the request has any effect.
    Before,
    /// The request has its effect, then the reply is lost and the stream reset.
    After,
    /// The request has its effect and no reply comes.
    Silent,
}

pub struct State {
    pub regions: Vec<Region>,
    pub bundle: Vec<u8>,
    /// Bundles of lying regions. ChatD serves them first, except those that the client does not want.
    pub wrong_bundles: Vec<outer::Bundle>,
    pub account: AccountId,
    pub leader: usize,
    pub shard: Applied,
    /// In the leader's memory only.
    starts: HashMap<RegId, ([u8; 32], Vec<u8>)>,
    // faults
    pub cuts: BTreeMap<u64, Cut>,
    /// Cuts the stream of each Begin that may be the last.
    pub last_begin: Option<Cut>,
    pub lies: BTreeMap<u8, Lie>,
    pub ksf_lie: Option<KsfParams>,
    pub two_stories: bool,
    /// Each answer comes several times.
    pub twice: bool,
    /// The leader names these instead of the registered ones.
    pub own_commitments: Option<Vec<Element>>,
    pub replay: bool,
    pub swap_record: bool,
    pub no_acknowledgement: HashSet<u8>,
    pub stranger: Option<ServerSettings>,
    pub unreachable: VecDeque<TransportError>,
    /// ChatD finds no leader.
    pub nobody_leads: bool,
    replayed: Option<p::Attestations>,
    /// Another device begins an attempt just before the next Begin.
    pub rival: bool,
    /// The leader claims that the user agreed to use the last try.
    pub claims_consent: bool,
    /// The leader claims to be ahead by this time.
    pub ahead_ms: u64,
    /// A rooted leader sends the regions this token, and answers `Opened` with its account, whoever asks.
    pub forwards: Option<&'static str>,
    /// The client's, in the present session.
    token: String,
    /// A token that every region but the leader refuses: it has no key for it yet, or the token ends in a moment.
    pub refused_by_regions: Option<&'static str>,
    /// A token that the leader refuses.
    pub refused_by_leader: Option<&'static str>,
    /// The person's tag that the regions sign in the present session.
    subject: Hash,
    /// The regions at these slots claim to be behind by this time.
    pub behind_ms: BTreeMap<u8, u64>,
    /// So many changes (Confirm, Finish, SetManifest, Delete) the leader answers with a genuine receipt and never proposes.
    pub unproposed: u32,
    /// So many KE1 the leader answers with a KE2 that no password opens.
    pub junk_ke2: u32,
    /// Another device names this backup just after the next one is named.
    pub rival_manifest: Option<Manifest>,
    /// Regions that have not applied what came after this account.
    behind: BTreeMap<u8, Option<Account>>,
    // observations of the test
    pub requests: u64,
    pub connections: u64,
    pub bundles_served: u64,
    /// How many connections meet `stranger`, if there is one.
    pub strangers: u32,
    pub charged: u32,
    pub evaluated: HashSet<(Generation, Ordinal, AttemptId, Element)>,
    pub log: Vec<p::Request>,
    pub relayed: Vec<u8>,
}

fn random<const N: usize>() -> [u8; N] {
    let mut b = [0; N];
    rand::rngs::OsRng.fill_bytes(&mut b);
    b
}

pub(super) fn no(code: Code) -> Answer {
    Answer::Refused(p::Refused { code: code.into(), ..Default::default() })
}

fn refused(why: Refusal) -> Answer {
    Answer::Refused(why.into())
}

fn documents(bundle: &[u8]) -> NewDocuments {
    let bundle = outer::Bundle::decode(bundle).unwrap();
    NewDocuments { admission: bundle.admission.to_vec(), policy: bundle.policy.to_vec() }
}

/// The person's, in shard 0 of the policy's four.
const ROUTE: Route = Route([9; 32]);

impl State {
    pub fn new() -> Self {
        let lineage = keys::root(1).lineage();
        let regions: Vec<Region> = (1..=3).map(|slot| Region::new(slot, lineage)).collect();
        let bundle = keys::bundle(&keys::admission(lineage, &regions), &keys::policy(lineage), &[1]);
        let account = AccountId::new(ROUTE.bucket(), &random());
        Self {
            shard: Applied::new(account, &regions, documents(&bundle)),
            bundle,
            wrong_bundles: Vec::new(),
            strangers: u32::MAX,
            regions,
            account,
            leader: 0,
            starts: HashMap::new(),
            cuts: BTreeMap::new(),
            last_begin: None,
            lies: BTreeMap::new(),
            ksf_lie: None,
            two_stories: false,
            twice: false,
            own_commitments: None,
            replay: false,
            swap_record: false,
            no_acknowledgement: HashSet::new(),
            stranger: None,
            unreachable: VecDeque::new(),
            nobody_leads: false,
            rival: false,
            claims_consent: false,
            ahead_ms: 0,
            forwards: None,
            token: TOKEN.into(),
            refused_by_regions: None,
            refused_by_leader: None,
            subject: Hash([0; 32]),
            behind_ms: BTreeMap::new(),
            unproposed: 0,
            rival_manifest: None,
            junk_ke2: 0,
            behind: BTreeMap::new(),
            replayed: None,
            requests: 0,
            connections: 0,
            bundles_served: 0,
            charged: 0,
            evaluated: HashSet::new(),
            log: vec![],
            relayed: vec![],
        }
    }

    pub fn admission(&self) -> &Admission {
        &self.shard.fleet().documents.admission
    }

    pub fn policy(&self) -> &Policy {
        &self.shard.fleet().documents.policy
    }

    /// From now on the fleet obeys this list and ChatD serves it.
    pub fn obey(&mut self, admission: &Admission) {
        self.bundle = keys::bundle(admission, self.policy(), &[1]);
        self.shard.apply(&Command::Documents(documents(&self.bundle))).unwrap();
    }

    /// Makes another region the leader. Data that was only in the old leader's memory is lost.
    pub fn elect(&mut self) {
        self.leader = (self.leader + 1) % self.regions.len();
        self.starts.clear();
    }

    /// Cuts the stream of the `nth` request from now on.
    pub fn cut(&mut self, nth: u64, cut: Cut) {
        let at = self.requests + nth;
        self.cuts.insert(at, cut);
    }

    /// Requests of this kind that any vault has decrypted.
    pub fn seen(&self, kind: impl Fn(&Operation) -> bool) -> usize {
        self.log.iter().filter(|r| r.operation.as_ref().is_some_and(&kind)).count()
    }

    /// Requests with data made from the password, except the blinded element.
    pub fn made_from_password(&self) -> usize {
        self.seen(|o| matches!(o, Operation::KeyExchange(_) | Operation::Finish(_)))
    }

    pub fn tries_left(&self) -> u32 {
        self.shard.account().map_or(0, Account::tries_left)
    }

    pub fn generation(&self) -> u64 {
        self.shard.account().map_or(0, |a| a.generation.0)
    }

    pub fn lifetime_failures(&self) -> u32 {
        self.shard.account().map_or(0, |a| a.lifetime_failures)
    }

    pub fn account_state(&self) -> AccountState {
        self.shard.account().map_or(AccountState::None, Account::state)
    }

    pub(super) const fn subject(&self) -> &Hash {
        &self.subject
    }

    pub fn sign(&self, slot: Slot, statement: &[u8]) -> (bytes::Bytes, bytes::Bytes) {
        let r = &self.regions[usize::from(slot.0) - 1];
        (r.certificate.clone().into(), r.boot.sign(statement).to_bytes().to_vec().into())
    }

    /// The tag of the person whose token the regions have verified.
    fn tag(&self, nonce: &[u8]) -> Hash {
        let person =
            if self.forwards.unwrap_or(self.token.as_str()) == MALLORY { "mallory" } else { "alice" };
        statement::subject(nonce.try_into().unwrap(), "https://issuer.example", person, 0)
    }

    /// True if only the leader accepts the token of this session.
    pub(super) fn refused(&self) -> bool {
        self.refused_by_regions == Some(self.token.as_str())
    }

    fn attest(&mut self, slots: &[Slot], nonce: &[u8]) -> p::Attestations {
        if self.replay
            && let Some(old) = &self.replayed
        {
            return old.clone();
        }
        let own = self.regions[self.leader].slot;
        let (slots, refuse): (Vec<Slot>, Vec<Slot>) =
            slots.iter().partition(|s| **s == own || !self.refused());
        let missing = |s: &Slot| p::MissingRegion {
            slot: s.0.into(),
            reason: p::missing_region::Reason::Token.into(),
            ..Default::default()
        };
        let missing = refuse.iter().map(missing).collect();
        let regions = slots.iter().map(|slot| {
            let (fleet, applied) = (self.shard.fleet(), self.shard.account());
            let account = self.behind.get(&slot.0).map_or(applied, Option::as_ref);
            let (tag, nonce) = (self.tag(nonce), nonce.try_into().unwrap());
            let ahead = if self.regions[self.leader].slot == *slot { self.ahead_ms } else { 0 };
            let behind = self.behind_ms.get(&slot.0).copied().unwrap_or(0);
            let time = Time(START + ahead - behind);
            let a = view::attested(fleet, &self.account, account, nonce, tag, *slot, self.shard.index, time);
            let (certificate, signature) = self.sign(*slot, &statement::attestation(&a));
            p::Attestation::new(&a, certificate, signature)
        });
        let all = p::Attestations { regions: regions.collect(), missing };
        self.replayed = Some(all.clone());
        all
    }

    fn receipt(&self, leader: usize, kind: ReceiptKind, reference: &[u8]) -> Option<p::Receipt> {
        let (slot, fleet) = (self.regions[leader].slot, self.shard.fleet());
        let account = self.shard.account()?;
        let (generation, ordinal, index) = (account.generation, account.ordinal, self.shard.index);
        let s = statement::receipt(
            &fleet.lineage,
            fleet.era,
            slot,
            &self.account,
            generation,
            ordinal,
            kind,
            reference,
            index,
            Time(START),
        );
        let (certificate, signature) = self.sign(slot, &s);
        Some(p::Receipt {
            slot: slot.0.into(),
            generation: generation.0,
            ordinal: ordinal.0,
            what: kind.name().into(),
            reference: reference.to_vec().into(),
            index,
            at_ms: START,
            certificate,
            signature,
        })
    }

    /// From now on the region at this slot applies nothing.
    pub fn holds_back(&mut self, slot: u8) {
        self.behind.insert(slot, self.shard.account().cloned());
    }

    /// The deadline closes the open attempt.
    pub fn expire(&mut self) {
        let account = self.shard.account_mut();
        let closed = account.pending.take().unwrap();
        account.failed.push(closed.attempt);
    }

    fn propose(&mut self, command: &Command) -> Result<(), Refusal> {
        if let Some(left) = self.unproposed.checked_sub(1) {
            self.unproposed = left;
            return Ok(());
        }
        self.shard.apply(command).map(drop)
    }

    /// Applies a command; the answer is its receipt.
    fn done(&mut self, leader: usize, command: &Command, kind: ReceiptKind, reference: &[u8]) -> Answer {
        match self.propose(command) {
            Ok(_) => Answer::Done(p::Done { receipt: self.receipt(leader, kind, reference) }),
            Err(why) => refused(why),
        }
    }

    pub fn handle(
        &mut self,
        opened: &mut bool,
        leader: usize,
        request: &p::Request,
        exporter: &dyn Fn() -> [u8; 32],
    ) -> Vec<p::Reply> {
        let operation = request.operation.clone().unwrap();
        let answers = match operation {
            Operation::Open(o)
                if [TOKEN, FRESH, MALLORY].contains(&o.token.as_str())
                    && self.refused_by_leader != Some(o.token.as_str()) =>
            {
                *opened = true;
                self.token.clone_from(&o.token);
                self.subject = self.tag(&o.nonce);
                let all: Vec<Slot> = self.regions.iter().map(|r| r.slot).collect();
                let own = [self.regions[leader].slot];
                let attestations = Some(self.attest(if o.attest { &all } else { &own }, &o.nonce));
                vec![Answer::Opened(p::Opened {
                    account: self.account.0.to_vec().into(),
                    attestations,
                    time_ms: START + self.ahead_ms,
                    admission: self.admission().number,
                    policy: self.policy().number,
                })]
            }
            _ if !*opened => vec![no(Code::Token)],
            Operation::Open(_) => vec![no(Code::Token)],
            Operation::Attest(a) => {
                let all: Vec<Slot> = self.regions.iter().map(|r| r.slot).collect();
                vec![Answer::Attestations(self.attest(&all, &a.nonce))]
            }
            Operation::RegisterStart(r) => vec![self.register_start(&r.request)],
            Operation::Store(s) => self.store(&s),
            Operation::Confirm(c) => vec![self.confirm(leader, &c)],
            Operation::Begin(b) => self.begin(&b),
            Operation::MoreEvaluations(_) => self.evaluations(),
            Operation::KeyExchange(k) => vec![self.key_exchange(&k)],
            Operation::Finish(f) => vec![self.finish(leader, &f, exporter)],
            Operation::GiveUp(g) => {
                let attempt = AttemptId::try_from(&g.attempt[..]).unwrap();
                let cancel = Secret32::new(g.cancel[..].try_into().unwrap());
                let command = Command::GiveUp(GiveUp { account: self.account, attempt, cancel });
                vec![self.done(leader, &command, ReceiptKind::GivenUp, &g.attempt)]
            }
            Operation::SetManifest(m) => {
                let manifest = Manifest { sequence: m.sequence, hash: Hash::try_from(&m.hash[..]).unwrap() };
                let owner = OwnerSignature::try_from(&m.owner.unwrap()).unwrap();
                let command = Command::SetManifest(SetManifest { account: self.account, manifest, owner });
                let answer = self.done(leader, &command, ReceiptKind::Manifest, &owner.operation.0);
                if let Some(later) = self.rival_manifest.take() {
                    self.shard.account_mut().manifest = Some(later);
                }
                vec![answer]
            }
            Operation::Delete(d) => {
                let owner = OwnerSignature::try_from(&d.owner.unwrap()).unwrap();
                let command = Command::Delete(Delete { account: self.account, owner });
                vec![self.done(leader, &command, ReceiptKind::Deleted, &owner.operation.0)]
            }
        };
        let last = answers.len() - 1;
        let reply = |(i, a)| p::Reply { id: request.id, more: i < last, result: Some(a) };
        answers.into_iter().enumerate().map(reply).collect()
    }

    fn register_start(&mut self, request: &[u8]) -> Answer {
        let (z, reg_id) = (random(), RegId(random()));
        let response = Server::new(&z).unwrap().register(request).unwrap();
        self.starts.insert(reg_id, (z, request.to_vec()));
        Answer::RegisterStarted(p::RegisterStarted {
            reg_id: reg_id.0.to_vec().into(),
            response: response.into(),
            base_generation: self.generation(),
        })
    }

    fn store(&mut self, s: &p::Store) -> Vec<Answer> {
        let record = Record::decode(&s.record).unwrap();
        let shares: Vec<_> = s.shares.iter().map(|s| SealedShare::try_from(s).unwrap()).collect();
        let known = self.shard.account().is_some_and(|a| {
            let stored = a.stored.as_ref().map(|s| s.record.reg_id);
            let live = a.live.as_ref().map(|l| l.record.reg_id);
            [stored, live].contains(&Some(record.reg_id))
        });
        // A leader that lost z can only repeat what is stored already.
        let start = self.starts.get(&record.reg_id).cloned();
        let (z, request) = match start {
            Some(start) => start,
            None if known => ([0; 32], s.request.to_vec()),
            None => return vec![no(Code::NoAttempt)],
        };
        let (hash, shares_hash) = (record.hash(), shares_hash(&shares));
        let command = Store {
            account: self.account,
            route: ROUTE,
            request,
            response: s.response.to_vec(),
            record: record.clone(),
            shares,
            z: Secret32::new(z),
            owner: s.owner.as_ref().map(|o| OwnerSignature::try_from(o).unwrap()),
        };
        if let Err(why) = self.shard.apply(&Command::Store(Box::new(command))) {
            return vec![refused(why)];
        }
        if self.refused() {
            return vec![no(Code::FreshToken)];
        }
        let acks: Vec<Answer> = self
            .regions
            .iter()
            .filter(|r| !self.no_acknowledgement.contains(&r.slot.0))
            .map(|r| {
                let (lineage, era) = (&record.lineage, record.era);
                let s = statement::acknowledgement(
                    lineage,
                    era,
                    &record.reg_id,
                    r.slot,
                    &hash,
                    &shares_hash,
                    &self.subject,
                );
                let (certificate, signature) = self.sign(r.slot, &s);
                let a = p::Acknowledgement { slot: r.slot.0.into(), certificate, signature };
                Answer::Acknowledged(p::Acknowledged { acknowledgements: vec![a] })
            })
            .collect();
        if acks.is_empty() { vec![no(Code::TooFewRegions)] } else { acks }
    }

    fn confirm(&mut self, leader: usize, c: &p::Confirm) -> Answer {
        let acknowledgements = c.acknowledgements.iter().map(|a| RegionSignature::try_from(a).unwrap());
        let command = Confirm {
            account: self.account,
            reg_id: RegId::try_from(&c.reg_id[..]).unwrap(),
            record: Hash::try_from(&c.record[..]).unwrap(),
            acknowledgements: acknowledgements.collect(),
            signature: Signature::try_from(&c.signature[..]).unwrap(),
            subject: Hash::try_from(&c.subject[..]).unwrap(),
        };
        self.done(leader, &Command::Confirm(command), ReceiptKind::Registered, &c.reg_id)
    }

    /// All regions have verified the token and permit the attempt.
    fn permits(&self, b: &Begin) -> Vec<RegionSignature> {
        let fleet = self.shard.fleet();
        let statement = statement::permit(
            &fleet.lineage,
            fleet.era,
            &b.account,
            b.generation,
            b.ordinal,
            &b.attempt,
            &b.blinded,
            &b.cancel,
            self.admission().number,
        );
        let permit = |r: &Region| RegionSignature {
            slot: r.slot,
            certificate: r.certificate.clone(),
            signature: Signature(r.boot.sign(&statement).to_bytes()),
        };
        self.regions.iter().map(permit).collect()
    }

    fn begin(&mut self, b: &p::Begin) -> Vec<Answer> {
        if std::mem::take(&mut self.rival) {
            let blinded = bkv_crypto::toprf::blind(b"a guess", &mut rand::rngs::OsRng).unwrap();
            let (attempt, cancel) = (random::<16>().to_vec().into(), random::<32>().to_vec().into());
            let blinded = blinded.element().0.to_vec().into();
            self.begin(&p::Begin { attempt, blinded, cancel, may_be_last: false });
        }
        let next = self.shard.account().map_or(0, |a| a.ordinal.0) + 1;
        let command = Begin {
            account: self.account,
            generation: Generation(self.generation()),
            ordinal: Ordinal(next),
            attempt: AttemptId::try_from(&b.attempt[..]).unwrap(),
            blinded: Element::try_from(&b.blinded[..]).unwrap(),
            cancel: Hash::try_from(&b.cancel[..]).unwrap(),
            seed: Secret32::new(random()),
            may_be_last: b.may_be_last || self.claims_consent,
            permits: vec![],
        };
        let command = Begin { permits: self.permits(&command), ..command };
        match self.shard.apply(&Command::Begin(command)) {
            Ok(Outcome::Begun { charged, .. }) => {
                self.charged += u32::from(charged);
                self.evaluations()
            }
            Ok(outcome) => panic!("{outcome:?}"),
            Err(why) => vec![refused(why)],
        }
    }

    /// The leader's answer to KE1, with its state; None if the attempt is neither pending nor the one that finished last.
    fn answer(&self, attempt: &[u8], ke1: &[u8]) -> Option<(bkv_crypto::opaque::ServerState, Vec<u8>, Hash)> {
        let attempt = AttemptId::try_from(attempt).unwrap();
        let account = self.shard.account()?;
        let (seed, context) = view::login(self.shard.fleet(), &self.account, account, &attempt)?;
        let record = &account.live.as_ref()?.record;
        let server = Server::new(self.shard.z(&record.reg_id)).unwrap();
        let (login, ke2) = server.answer(seed.expose(), &record.upload, &context.0, ke1).unwrap();
        Some((login, ke2, context))
    }

    fn key_exchange(&mut self, k: &p::KeyExchange) -> Answer {
        match self.answer(&k.attempt, &k.ke1) {
            Some((_, mut ke2, _)) if self.junk_ke2 > 0 => {
                self.junk_ke2 -= 1;
                ke2[100] ^= 1;
                Answer::KeyExchanged(p::KeyExchanged { ke2: ke2.into() })
            }
            Some((_, ke2, _)) => Answer::KeyExchanged(p::KeyExchanged { ke2: ke2.into() }),
            None => no(Code::NoAttempt),
        }
    }

    fn finish(&mut self, leader: usize, f: &p::Finish, exporter: &dyn Fn() -> [u8; 32]) -> Answer {
        let Some((login, _, context)) = self.answer(&f.attempt, &f.ke1) else { return no(Code::NoAttempt) };
        let Ok(session) = login.finish(&f.ke3, &context.0) else { return no(Code::Proof) };
        let command = Finish {
            account: self.account,
            attempt: AttemptId::try_from(&f.attempt[..]).unwrap(),
            ke1: f.ke1.to_vec(),
            ke2: f.ke2.to_vec(),
            ke3: f.ke3.to_vec(),
        };
        if let Err(why) = self.propose(&Command::Finish(command)) {
            return refused(why);
        }
        let account = self.shard.account().unwrap();
        let mut record = account.live.as_ref().unwrap().record.clone();
        if self.swap_record {
            record.owner = PublicKey([9; 32]);
        }
        let body = p::FinishedBody {
            record: record.encode().into(),
            manifest_sequence: account.manifest.map_or(0, |m| m.sequence),
            manifest_hash: account.manifest.map_or(vec![], |m| m.hash.0.to_vec()).into(),
            lifetime_failures: account.lifetime_failures,
        };
        let sealed = reply::seal(&session, &exporter(), &f.attempt, body.encode_to_vec()).unwrap();
        let receipt = self.receipt(leader, ReceiptKind::Recovered, &f.attempt);
        Answer::Finished(p::Finished { sealed: sealed.into(), receipt })
    }
}
