//! What the regions know and do: PROTOCOL's rules as far as a client can see them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use bkv_client::{Manifest, State as Word, TransportError};
use bkv_core::document::{Admission, Policy};
use bkv_core::id::*;
use bkv_core::record::{KsfParams, Record, SealedShare, shares_hash};
use bkv_core::statement::{self, Attested, Owned};
use bkv_crypto::ed25519;
use bkv_crypto::opaque::{Server, verify_ke3_signature};
use bkv_crypto::toprf::{self, Commitments, Share};
use bkv_wire::channel::ServerSettings;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};
use ed25519_dalek::Signer as _;
use prost::Message as _;
use rand::RngCore as _;

use super::keys::{self, Region, START};

pub const TOKEN: &str = "token-for-vaults-only";

/// How a region's evaluation is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    Proof,
    Signature,
    OtherRecord,
    /// Signs more tries than the record has.
    OtherBudget,
    /// A genuine answer to an earlier attempt.
    OtherAttempt,
    /// A genuine answer to another blinded element.
    OtherBlinded,
    /// A genuine answer of another generation's.
    OtherGeneration,
    /// By a boot key that an identity outside the admission list certified.
    Stranger,
    OtherShare,
    WrongSlot,
    Reflected,
    Identity,
    NotCanonical,
    Silent,
}

/// What happens to a request's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Reset before the request has any effect.
    Before,
    /// It has its effect, the reply is lost, the stream reset.
    After,
    /// It has its effect and nothing comes back.
    Silent,
}

#[derive(Clone)]
struct Kept {
    record: Record,
    z: [u8; 32],
    shares_hash: Hash,
}

#[derive(Clone)]
struct Pending {
    attempt: AttemptId,
    blinded: Element,
    cancel: Hash,
    seed: [u8; 32],
    ordinal: u64,
    success: u64,
}

pub struct State {
    pub regions: Vec<Region>,
    pub admission: Admission,
    pub policy: Policy,
    pub bundle: Vec<u8>,
    pub account: AccountId,
    pub leader: usize,
    // the account
    pub generation: u64,
    pub ordinal: u64,
    pub success: u64,
    pub lifetime_failures: u32,
    pub manifest: Option<Manifest>,
    pub ended: Option<Word>,
    live: Option<Kept>,
    stored: Option<Kept>,
    shares: HashMap<(RegId, Slot), [u8; 32]>,
    pending: Option<Pending>,
    finished: Option<Pending>,
    dead: HashSet<AttemptId>,
    operations: HashSet<Vec<u8>>,
    starts: HashMap<RegId, ([u8; 32], Vec<u8>)>,
    // knobs
    pub cuts: BTreeMap<u64, Cut>,
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
    // what happened
    pub requests: u64,
    pub connections: u64,
    pub bundles_served: u64,
    pub charged: u32,
    pub evaluated: HashSet<(u64, u64, AttemptId, Element)>,
    pub log: Vec<p::Request>,
    pub relayed: Vec<u8>,
}

fn random<const N: usize>() -> [u8; N] {
    let mut b = [0; N];
    rand::rngs::OsRng.fill_bytes(&mut b);
    b
}

fn no(code: Code) -> Answer {
    Answer::Refused(p::Refused { code: code.into(), ..Default::default() })
}

impl State {
    pub fn new() -> Self {
        let lineage = keys::root(1).lineage();
        let regions: Vec<Region> = (1..=3).map(|slot| Region::new(slot, lineage)).collect();
        let (admission, policy) = (keys::admission(lineage, &regions), keys::policy(lineage));
        Self {
            bundle: keys::bundle(&admission, &policy, &[1]),
            regions,
            admission,
            policy,
            account: AccountId(random()),
            leader: 0,
            generation: 0,
            ordinal: 0,
            success: 0,
            lifetime_failures: 0,
            manifest: None,
            ended: None,
            live: None,
            stored: None,
            shares: HashMap::new(),
            pending: None,
            finished: None,
            dead: HashSet::new(),
            operations: HashSet::new(),
            starts: HashMap::new(),
            cuts: BTreeMap::new(),
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

    /// Another region leads; what was only in the old one's memory is gone.
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

    /// Anything that is made from the password beyond the blinded element.
    pub fn made_from_password(&self) -> usize {
        self.seen(|o| matches!(o, Operation::KeyExchange(_) | Operation::Finish(_)))
    }

    pub fn tries_left(&self) -> u32 {
        let budget = self.live.as_ref().map_or(0, |l| u64::from(l.record.attempts.max));
        u32::try_from(budget.saturating_sub(self.ordinal - self.success)).unwrap()
    }

    pub fn word(&self) -> Word {
        match (&self.live, self.ended) {
            (Some(_), _) if self.pending.is_some() && self.tries_left() == 0 => Word::LastTry,
            (Some(l), _) if self.lifetime_failures >= l.record.attempts.lifetime_failures => Word::Locked,
            (Some(_), _) => Word::Live,
            (None, Some(word)) => word,
            (None, None) => Word::None,
        }
    }

    pub fn sign(&self, slot: Slot, statement: &[u8]) -> (bytes::Bytes, bytes::Bytes) {
        let r = &self.regions[usize::from(slot.0) - 1];
        (r.certificate.clone().into(), r.boot.sign(statement).to_bytes().to_vec().into())
    }

    fn attest(&mut self, slots: &[Slot], nonce: &[u8]) -> p::Attestations {
        if self.replay
            && let Some(old) = &self.replayed
        {
            return old.clone();
        }
        let regions = slots.iter().map(|slot| {
            let a = Attested {
                nonce: nonce.try_into().unwrap(),
                slot: *slot,
                lineage: self.admission.lineage,
                era: Era(1),
                account: self.account,
                state: self.word(),
                generation: Generation(self.generation),
                ordinal: Ordinal(self.ordinal),
                success: Ordinal(self.success),
                tries_left: self.tries_left(),
                next_allowed: Time(START + 5),
                record: self.live.as_ref().map_or(Hash([0; 32]), |l| l.record.hash()),
                index: u64::from(slot.0),
                manifest: self.manifest,
                lifetime_failures: self.lifetime_failures,
            };
            let (certificate, signature) = self.sign(*slot, &statement::attestation(&a));
            p::Attestation {
                nonce: nonce.to_vec().into(),
                slot: slot.0.into(),
                state: a.state as u32,
                generation: a.generation.0,
                ordinal: a.ordinal.0,
                success: a.success.0,
                tries_left: a.tries_left,
                next_allowed_ms: a.next_allowed.0,
                record: a.record.0.to_vec().into(),
                index: a.index,
                manifest_sequence: a.manifest.map_or(0, |m| m.sequence),
                manifest_hash: a.manifest.map_or(vec![], |m| m.hash.0.to_vec()).into(),
                lifetime_failures: a.lifetime_failures,
                certificate,
                signature,
            }
        });
        let all = p::Attestations { regions: regions.collect() };
        self.replayed = Some(all.clone());
        all
    }

    fn receipt(&self, leader: usize, what: statement::ReceiptKind, reference: &[u8]) -> Option<p::Receipt> {
        let slot = self.regions[leader].slot;
        let s = statement::receipt(
            &self.admission.lineage,
            Era(1),
            slot,
            &self.account,
            Generation(self.generation),
            Ordinal(self.ordinal),
            what,
            reference,
            9,
            Time(START),
        );
        let (certificate, signature) = self.sign(slot, &s);
        Some(p::Receipt {
            slot: slot.0.into(),
            generation: self.generation,
            ordinal: self.ordinal,
            what: what.name().into(),
            reference: reference.to_vec().into(),
            index: 9,
            at_ms: START,
            certificate,
            signature,
        })
    }

    fn done(&self, leader: usize, what: statement::ReceiptKind, reference: &[u8]) -> Answer {
        Answer::Done(p::Done { receipt: self.receipt(leader, what, reference) })
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
            Operation::Open(o) if o.token == TOKEN => {
                *opened = true;
                let all: Vec<Slot> = self.regions.iter().map(|r| r.slot).collect();
                let own = [self.regions[leader].slot];
                let attestations = Some(self.attest(if o.attest { &all } else { &own }, &o.nonce));
                vec![Answer::Opened(p::Opened {
                    account: self.account.0.to_vec().into(),
                    attestations,
                    time_ms: START,
                    admission: self.admission.number,
                    policy: self.policy.number,
                })]
            }
            _ if !*opened => vec![no(Code::Token)],
            Operation::Open(_) => vec![no(Code::Token)],
            Operation::Attest(a) => {
                let own = [self.regions[leader].slot];
                vec![Answer::Attestations(self.attest(&own, &a.nonce))]
            }
            Operation::RegisterStart(r) => vec![self.register_start(&r.request)],
            Operation::Store(s) => self.store(&s),
            Operation::Confirm(c) => vec![self.confirm(leader, &c)],
            Operation::Begin(b) => self.begin(&b),
            Operation::MoreEvaluations(_) => self.evaluations(),
            Operation::KeyExchange(k) => vec![self.key_exchange(&k)],
            Operation::Finish(f) => vec![self.finish(leader, &f, exporter)],
            Operation::GiveUp(g) => vec![self.give_up(leader, &g)],
            Operation::SetManifest(m) => {
                let named = Manifest { sequence: m.sequence, hash: Hash::try_from(&m.hash[..]).unwrap() };
                vec![self.owned(
                    leader,
                    &m.owner.unwrap(),
                    &statement::Operation::SetManifest(&named),
                    statement::ReceiptKind::Manifest,
                    |s| {
                        s.manifest = Some(named);
                    },
                )]
            }
            Operation::Delete(d) => {
                vec![self.owned(
                    leader,
                    &d.owner.unwrap(),
                    &statement::Operation::Delete,
                    statement::ReceiptKind::Deleted,
                    |s| {
                        s.live = None;
                        s.ended = Some(Word::Deleted);
                    },
                )]
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
            base_generation: self.generation,
        })
    }

    fn owner_good(&self, o: &p::OwnerSignature, what: &statement::Operation<'_>) -> bool {
        let Some(live) = &self.live else { return false };
        let operation = OperationId::try_from(&o.operation[..]).unwrap();
        let owned = Owned {
            lineage: &self.admission.lineage,
            era: Era(1),
            account: &self.account,
            generation: Generation(self.generation),
            operation: &operation,
            expires: Time(o.expires_ms),
        };
        o.expires_ms > START
            && ed25519::verify(
                &live.record.owner.0,
                &statement::owner(&owned, what),
                o.signature[..].try_into().unwrap(),
            )
    }

    fn owned(
        &mut self,
        leader: usize,
        o: &p::OwnerSignature,
        what: &statement::Operation<'_>,
        word: statement::ReceiptKind,
        apply: impl Fn(&mut Self),
    ) -> Answer {
        if !self.operations.contains(&o.operation[..]) {
            if !self.owner_good(o, what) {
                return no(Code::Owner);
            }
            self.operations.insert(o.operation.to_vec());
            apply(self);
        }
        self.done(leader, word, &o.operation)
    }

    fn store(&mut self, s: &p::Store) -> Vec<Answer> {
        let record = Record::decode(&s.record).unwrap();
        let shares: Vec<SealedShare> = s
            .shares
            .iter()
            .map(|s| SealedShare {
                slot: Slot(u8::try_from(s.slot).unwrap()),
                enc: s.enc.to_vec(),
                ct: s.ct.to_vec(),
            })
            .collect();
        let kept =
            [&self.live, &self.stored].into_iter().flatten().find(|k| k.record.reg_id == record.reg_id);
        if let Some(kept) = kept {
            if kept.record != record || kept.shares_hash != shares_hash(&shares) {
                return vec![no(Code::Conflict)];
            }
        } else {
            let Some((z, request)) = self.starts.get(&record.reg_id).cloned() else {
                return vec![no(Code::NoAttempt)];
            };
            assert_eq!(request, s.request);
            assert_eq!(Server::new(&z).unwrap().register(&request).unwrap(), s.response);
            if record.generation.0 != self.generation + 1 {
                return vec![no(Code::Stale)];
            }
            let hash = record.hash();
            if self.live.is_some() {
                let good = s
                    .owner
                    .as_ref()
                    .is_some_and(|o| self.owner_good(o, &statement::Operation::Register(&hash)));
                if !good {
                    return vec![no(Code::Owner)];
                }
            }
            let commitments = Commitments::parse(&record.commitments).unwrap();
            for (region, sealed) in self.regions.iter().zip(&shares) {
                let share =
                    region.delivery.open(sealed, &statement::share_info(&hash, region.slot), b"").unwrap();
                share.check(region.slot, &commitments).unwrap();
                self.shares.insert((record.reg_id, region.slot), *share.to_bytes());
            }
            self.stored = Some(Kept { record: record.clone(), z, shares_hash: shares_hash(&shares) });
        }
        let (hash, shares) = (record.hash(), shares_hash(&shares));
        let acks: Vec<Answer> = self
            .regions
            .iter()
            .filter(|r| !self.no_acknowledgement.contains(&r.slot.0))
            .map(|r| {
                let s = statement::acknowledgement(
                    &record.lineage,
                    record.era,
                    &record.reg_id,
                    r.slot,
                    &hash,
                    &shares,
                );
                let (certificate, signature) = self.sign(r.slot, &s);
                let a = p::Acknowledgement { slot: r.slot.0.into(), certificate, signature };
                Answer::Acknowledged(p::Acknowledged { acknowledgements: vec![a] })
            })
            .collect();
        if acks.is_empty() { vec![no(Code::TooFewRegions)] } else { acks }
    }

    fn confirm(&mut self, leader: usize, c: &p::Confirm) -> Answer {
        let reg_id = RegId::try_from(&c.reg_id[..]).unwrap();
        if self.live.as_ref().is_some_and(|l| l.record.reg_id == reg_id) {
            return self.done(leader, statement::ReceiptKind::Registered, &c.reg_id);
        }
        let Some(stored) = self.stored.clone().filter(|s| s.record.reg_id == reg_id) else {
            return no(Code::NoAttempt);
        };
        let r = &stored.record;
        let s = statement::confirm(
            &r.lineage,
            r.era,
            &r.account,
            Generation(self.generation),
            &reg_id,
            &r.hash(),
        );
        assert_eq!(c.record[..], r.hash().0);
        assert!(ed25519::verify(&r.owner.0, &s, c.signature[..].try_into().unwrap()));
        assert!(c.acknowledgements.len() >= 2);
        for a in &c.acknowledgements {
            let slot = Slot(u8::try_from(a.slot).unwrap());
            let s =
                statement::acknowledgement(&r.lineage, r.era, &reg_id, slot, &r.hash(), &stored.shares_hash);
            assert_eq!(self.sign(slot, &s).1, a.signature);
        }
        (self.generation, self.ordinal, self.success, self.lifetime_failures) =
            (self.generation + 1, 0, 0, 0);
        (self.live, self.stored, self.pending, self.finished, self.ended) =
            (Some(stored), None, None, None, None);
        self.done(leader, statement::ReceiptKind::Registered, &c.reg_id)
    }

    fn begin(&mut self, b: &p::Begin) -> Vec<Answer> {
        let attempt = AttemptId::try_from(&b.attempt[..]).unwrap();
        let blinded = Element::try_from(&b.blinded[..]).unwrap();
        if let Some(open) = self.pending.as_ref().filter(|o| o.attempt == attempt) {
            return if open.blinded == blinded { self.evaluations() } else { vec![no(Code::Conflict)] };
        }
        if self.dead.contains(&attempt) {
            return vec![no(Code::NoAttempt)];
        }
        match self.word() {
            Word::Live => {}
            Word::None => return vec![no(Code::NoKey)],
            Word::LastTry => return vec![no(Code::LastTryOpen)],
            Word::Locked => return vec![no(Code::Locked)],
            Word::Destroyed => return vec![no(Code::Destroyed)],
            Word::Deleted => return vec![no(Code::Deleted)],
        }
        if let Some(old) = self.pending.take() {
            self.dead.insert(old.attempt);
        }
        self.ordinal += 1;
        self.lifetime_failures += 1;
        self.charged += 1;
        self.pending = Some(Pending {
            attempt,
            blinded,
            cancel: Hash::try_from(&b.cancel[..]).unwrap(),
            seed: random(),
            ordinal: self.ordinal,
            success: self.success,
        });
        self.evaluations()
    }

    fn evaluations(&mut self) -> Vec<Answer> {
        let (Some(open), Some(live)) = (self.pending.clone(), self.live.clone()) else {
            return vec![no(Code::NoAttempt)];
        };
        let r = &live.record;
        let honest = statement::Attempt {
            lineage: r.lineage,
            era: r.era,
            account: self.account,
            generation: Generation(self.generation),
            ordinal: Ordinal(open.ordinal),
            success: Ordinal(open.success),
            attempt: open.attempt,
            blinded: open.blinded,
            record: r.hash(),
            commitments: r.commitments.clone(),
            ksf: self.ksf_lie.unwrap_or(r.ksf),
            budget: r.attempts.max,
        };
        let commitments = Commitments::parse(&r.commitments).unwrap();
        let mut answers = vec![];
        for slot in (1..=3).map(Slot) {
            let lie = self.lies.get(&slot.0).copied();
            let mut told = honest.clone();
            if self.two_stories && slot.0 % 2 == 0 {
                told.ordinal.0 += 1; // more tries seem to be gone
            }
            let mut signs = told.clone();
            if let Some(own) = &self.own_commitments {
                told.commitments.clone_from(own);
            }
            match lie {
                Some(Lie::OtherRecord) => signs.record.0[0] ^= 1,
                Some(Lie::OtherBudget) => signs.budget += 90,
                Some(Lie::OtherAttempt) => signs.attempt.0[0] ^= 1,
                Some(Lie::OtherBlinded) => {
                    signs.blinded = *toprf::blind(b"other", &mut rand::rngs::OsRng).unwrap().element();
                }
                Some(Lie::OtherGeneration) => signs.generation.0 += 1,
                _ => {}
            }
            let bytes = self.shares[&(r.reg_id, slot)];
            let other = self.shares[&(r.reg_id, Slot(slot.0 % 3 + 1))];
            let share =
                Share::from_slice(if lie == Some(Lie::OtherShare) { &other } else { &bytes }).unwrap();
            let public = commitments.public_share(slot).unwrap();
            let context = statement::proof_context(&signs, slot);
            let mut e =
                toprf::evaluate(&share, &public, slot, &open.seed, &context.0, &signs.blinded).unwrap();
            self.evaluated.insert((self.generation, open.ordinal, open.attempt, open.blinded));
            match lie {
                Some(Lie::Proof) => e.proof.0[40] ^= 1,
                Some(Lie::Reflected) => e.beta = open.blinded,
                Some(Lie::Identity) => e.beta = Element([0; 32]),
                Some(Lie::NotCanonical) => e.beta = Element([0xff; 32]),
                _ => {}
            }
            let word = statement::evaluation(&signs, slot, &e.beta);
            let (mut certificate, signature) = self.sign(slot, &word);
            let mut signature = signature.to_vec();
            if lie == Some(Lie::Stranger) {
                let stranger = super::keys::Region::new(slot.0, r.lineage);
                certificate = stranger.certificate.clone().into();
                signature = stranger.boot.sign(&word).to_bytes().to_vec();
            }
            if lie == Some(Lie::Signature) {
                signature[3] ^= 1;
            }
            let said = if lie == Some(Lie::WrongSlot) { Slot(slot.0 % 3 + 1) } else { slot };
            let evaluation = p::Evaluation {
                slot: said.0.into(),
                beta: e.beta.0.to_vec().into(),
                proof: e.proof.0.to_vec().into(),
                certificate,
                signature: signature.into(),
            };
            let silent = lie == Some(Lie::Silent);
            let twice = if self.twice { vec![evaluation.clone(), evaluation.clone()] } else { vec![] };
            answers.push(Answer::Begun(p::Begun {
                generation: told.generation.0,
                ordinal: told.ordinal.0,
                commitments: told.commitments.iter().map(|c| c.0.to_vec().into()).collect(),
                ksf_memory_kib: told.ksf.memory_kib,
                ksf_passes: told.ksf.passes,
                ksf_lanes: told.ksf.lanes,
                record: told.record.0.to_vec().into(),
                success: told.success.0,
                budget: told.budget,
                evaluations: if silent { vec![] } else { [vec![evaluation], twice].concat() },
                missing: vec![],
            }));
        }
        answers
    }

    fn context(&self, open: &Pending) -> Hash {
        statement::login_context(
            &self.admission.lineage,
            Era(1),
            &self.account,
            Generation(self.generation),
            Ordinal(open.ordinal),
            &open.attempt,
            &open.blinded,
        )
    }

    fn key_exchange(&mut self, k: &p::KeyExchange) -> Answer {
        let open = self.pending.as_ref().filter(|o| o.attempt.0 == k.attempt[..]);
        let (Some(open), Some(live)) = (open, &self.live) else { return no(Code::NoAttempt) };
        let server = Server::new(&live.z).unwrap();
        let (_, ke2) = server.answer(&open.seed, &live.record.upload, &self.context(open).0, &k.ke1).unwrap();
        Answer::KeyExchanged(p::KeyExchanged { ke2: ke2.into() })
    }

    fn finish(&mut self, leader: usize, f: &p::Finish, exporter: &dyn Fn() -> [u8; 32]) -> Answer {
        let known =
            [&self.pending, &self.finished].into_iter().flatten().find(|o| o.attempt.0 == f.attempt[..]);
        let (Some(open), Some(live)) = (known.cloned(), self.live.clone()) else {
            return no(Code::NoAttempt);
        };
        let context = self.context(&open);
        if verify_ke3_signature(&live.record.upload, &context.0, &f.ke1, &f.ke2, &f.ke3).is_err() {
            return no(Code::Proof);
        }
        let server = Server::new(&live.z).unwrap();
        let (login, _) = server.answer(&open.seed, &live.record.upload, &context.0, &f.ke1).unwrap();
        let session = login.finish(&f.ke3, &context.0).unwrap();
        if self.pending.take().is_some() {
            self.success = open.ordinal;
            self.lifetime_failures -= 1;
        }
        self.finished = Some(open.clone());
        let mut record = live.record.clone();
        if self.swap_record {
            record.owner = PublicKey([9; 32]);
        }
        let body = p::FinishedBody {
            record: record.encode().into(),
            manifest_sequence: self.manifest.map_or(0, |m| m.sequence),
            manifest_hash: self.manifest.map_or(vec![], |m| m.hash.0.to_vec()).into(),
            lifetime_failures: self.lifetime_failures,
        };
        let sealed =
            bkv_crypto::reply::seal(&session, &exporter(), &f.attempt, body.encode_to_vec()).unwrap();
        let receipt = self.receipt(leader, statement::ReceiptKind::Recovered, &f.attempt);
        Answer::Finished(p::Finished { sealed: sealed.into(), receipt })
    }

    fn give_up(&mut self, leader: usize, g: &p::GiveUp) -> Answer {
        let Some(open) = self.pending.clone().filter(|o| o.attempt.0 == g.attempt[..]) else {
            return no(Code::NoAttempt);
        };
        let cancel: [u8; 32] = g.cancel[..].try_into().unwrap();
        if statement::cancel_hash(&cancel) != open.cancel {
            return no(Code::Proof);
        }
        self.pending = None;
        self.dead.insert(open.attempt);
        if self.tries_left() == 0 {
            self.live = None;
            self.ended = Some(Word::Destroyed);
        }
        self.done(leader, statement::ReceiptKind::GivenUp, &g.attempt)
    }
}
