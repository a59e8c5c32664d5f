//! The leader's answer to each request of a client. `core` decides.

use bkv_core::command::{Begin, Command, Confirm, Delete, Finish, GiveUp, Store};
use bkv_core::id::*;
use bkv_core::outcome::{Outcome, Refusal};
use bkv_core::record::{Record, SealedShare, shares_hash};
use bkv_core::secret::Secret32;
use bkv_core::signature::{OwnerSignature, RegionSignature};
use bkv_core::statement::{self, ReceiptKind};
use bkv_core::view;
use bkv_core::writers::{Writer, attested};
use bkv_crypto::opaque::Server;
use bkv_crypto::reply;
use bkv_wire::ledgers::EXPORTER;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};
use ed25519_dalek::Signer as _;
use prost::Message as _;

use super::keys::{Region, START};
use super::state::{BOUND, FRESH, MALLORY, ROUTE, State, TOKEN, no, random};

fn refused(why: Refusal) -> Answer {
    Answer::Refused(why.into())
}

impl State {
    pub fn handle(
        &mut self,
        opened: &mut bool,
        leader: usize,
        request: &p::Request,
        exporter: &dyn Fn(&[u8]) -> [u8; 32],
    ) -> Vec<p::Reply> {
        let operation = request.operation.clone().unwrap();
        let refuses = self.refuses(&operation);
        let answers = match operation {
            _ if refuses.is_some() => refuses.into_iter().map(no).collect(),
            Operation::Open(o)
                if [TOKEN, FRESH, BOUND, MALLORY].contains(&o.token.as_str())
                    && self.refused_by_leader != Some(o.token.as_str()) =>
            {
                *opened = true;
                self.token.clone_from(&o.token);
                self.subject = self.tag(&o.nonce);
                let attestations = o.attest.then(|| self.attest(&o.nonce, o.all));
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
            Operation::Attest(a) => vec![Answer::Attestations(self.attest(&a.nonce, a.all))],
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
            Operation::SetLedger(m) => {
                if std::mem::take(&mut self.next_generation) {
                    let account = self.shard.account_mut();
                    account.generation.0 += 1;
                    let generation = account.generation;
                    account.live.as_mut().unwrap().record.generation = generation;
                }
                let owner = OwnerSignature::try_from(m.owner.as_ref().unwrap()).unwrap();
                let command = Command::SetLedger(m.command(self.account, owner).unwrap());
                if let Some(ledger) = self.twin_ledger.take() {
                    self.shard.account_mut().writers.iter_mut().for_each(|w| w.ledger = ledger);
                }
                let answer = self.done(leader, &command, ReceiptKind::Named, &owner.operation.0);
                if let Some(later) = self.rival_ledger.take() {
                    self.shard.account_mut().writers.iter_mut().for_each(|w| w.ledger = later);
                }
                vec![answer]
            }
            Operation::ForgetWriter(m) => {
                let owner = OwnerSignature::try_from(m.owner.as_ref().unwrap()).unwrap();
                let command = Command::ForgetWriter(m.command(self.account, owner).unwrap());
                vec![self.done(leader, &command, ReceiptKind::Forgotten, &owner.operation.0)]
            }
            Operation::ReadLedgers(r) => vec![self.read_ledgers(&r, &exporter(EXPORTER))],
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
        if self.too_few_know_the_key() {
            return vec![no(Code::FreshToken)];
        }
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
        let statement = b.permit(&fleet.lineage, fleet.era, self.admission().number);
        let permit = |r: &Region| RegionSignature {
            slot: r.slot,
            certificate: r.certificate.clone(),
            signature: Signature(r.boot.sign(&statement).to_bytes()),
        };
        self.regions.iter().map(permit).collect()
    }

    pub fn begin(&mut self, b: &p::Begin) -> Vec<Answer> {
        if self.too_few_know_the_key() {
            return vec![no(Code::FreshToken)];
        }
        if b.may_be_last && std::mem::take(&mut self.rival_success) {
            self.succeeds();
        }
        if std::mem::take(&mut self.rival) {
            let blinded = bkv_crypto::toprf::blind(b"a guess", &mut rand::rngs::OsRng).unwrap();
            let (attempt, cancel) = (random::<16>().to_vec().into(), random::<32>().to_vec().into());
            let blinded = blinded.element().0.to_vec().into();
            self.begin(&p::Begin { attempt, blinded, cancel, may_be_last: false, proof: None });
        }
        let account = self.shard.account();
        let repeats = account.and_then(|a| a.pending.as_ref()).is_some_and(|p| p.attempt.0 == b.attempt[..]);
        let next = account.map_or(0, |a| a.ordinal.0) + u64::from(!repeats);
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

    fn finish(&mut self, leader: usize, f: &p::Finish, exporter: &dyn Fn(&[u8]) -> [u8; 32]) -> Answer {
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
            vs: self.vs(&account.writers),
            lifetime_failures: account.lifetime_failures,
        };
        let sealed =
            reply::seal(&session, &exporter(reply::EXPORTER), &f.attempt, body.encode_to_vec()).unwrap();
        let receipt = self.receipt(leader, ReceiptKind::Recovered, &f.attempt);
        Answer::Finished(p::Finished { sealed: sealed.into(), receipt })
    }

    /// V of these writers. A leader that lies sends another.
    fn vs(&self, writers: &[Writer]) -> Vec<p::WriterV> {
        let mut vs: Vec<p::WriterV> = writers.iter().map(p::WriterV::from).collect();
        vs.iter_mut().filter(|_| self.other_v).for_each(|v| v.v = vec![9; 32].into());
        vs
    }

    fn read_ledgers(&self, r: &p::ReadLedgers, channel: &[u8; 32]) -> Answer {
        let Some(account) = self.shard.account() else { return no(Code::NoKey) };
        let admission = self.admission();
        let statement = statement::read_ledgers(&admission.lineage, admission.era, &self.account, channel);
        let signature: [u8; 64] = r.signature[..].try_into().unwrap();
        let signed = |owner: &PublicKey| bkv_crypto::ed25519::verify(&owner.0, &statement, &signature);
        if account.live.as_ref().is_some_and(|l| signed(&l.record.owner)) {
            return Answer::Ledgers(p::Ledgers { vs: self.vs(&account.writers), ..Default::default() });
        }
        let Some(retired) = account.retired.iter().find(|r| signed(&r.owner)) else { return no(Code::Owner) };
        Answer::Ledgers(p::Ledgers {
            vs: self.vs(&retired.writers),
            retired: attested(&retired.writers).iter().map(p::Writer::from).collect(),
        })
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
}
