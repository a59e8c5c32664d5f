//! What the fleet in memory has, its knobs that make answers wrong, and what its regions sign.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use bkv_client::{LedgerName, State as AccountState, TransportError};
use bkv_core::account::{Account, Success};
use bkv_core::command::Command;
use bkv_core::document::{Admission, NewDocuments, Policy};
use bkv_core::id::*;
use bkv_core::record::KsfParams;
use bkv_core::statement::{self, ReceiptKind};
use bkv_core::view;
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
/// A token of the same person that is bound to [`TOKEN_KEY`].
pub const BOUND: &str = "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJjbmYiOnsiamt0IjoiM1laeEJKMTJqTzNuX21YdF9xLWpfWi1URlAxdnQtTmlJM09DZi1mRW5IUSJ9fQ.c2lnbmVk";
/// The private key of RFC 8410, section 10.3.
pub const TOKEN_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
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

/// Requests of one kind that the leader refuses with this code, this many times.
pub struct Refuses {
    pub what: fn(&Operation) -> bool,
    pub code: Code,
    pub times: u32,
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
    pub(super) starts: HashMap<RegId, ([u8; 32], Vec<u8>)>,
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
    /// The regions where `stranger` is, if ChatD names them.
    pub stranger_regions: Vec<String>,
    pub unreachable: VecDeque<TransportError>,
    /// ChatD finds no leader.
    pub nobody_leads: bool,
    replayed: Option<p::Attestations>,
    /// Another device begins an attempt just before the next Begin.
    pub rival: bool,
    /// Another device's attempt succeeds just before the next Begin that permits the last try: all tries are back.
    pub rival_success: bool,
    /// The region at this slot signs that one try is left, whatever is left.
    pub claims_one_left: Option<u8>,
    /// The leader claims that the user agreed to use the last try.
    pub claims_consent: bool,
    /// The leader claims to be ahead by this time.
    pub ahead_ms: u64,
    /// A rooted leader sends the regions this token, and answers `Opened` with its account, whoever asks.
    pub forwards: Option<&'static str>,
    /// The client's token in the present session.
    pub(super) token: String,
    /// A token that every region but the leader refuses: it has no key for it yet, or the token ends in a moment.
    pub refused_by_regions: Option<&'static str>,
    /// A token that the leader refuses.
    pub refused_by_leader: Option<&'static str>,
    /// The leader begins nothing for this many Begins and Stores: too few regions accept tokens of that key.
    pub begins_nothing: usize,
    /// The person's tag that the regions sign in the present session.
    pub(super) subject: Hash,
    /// The regions at these slots claim to be behind by this time.
    pub behind_ms: BTreeMap<u8, u64>,
    /// The region at this slot signs every attestation with a key that is not its own.
    pub forges_attestations: Option<u8>,
    /// The leader answers this many changes (Confirm, Finish, SetLedger, Delete) with a genuine receipt and never proposes them.
    pub unproposed: u32,
    /// The leader answers this many KE1 with a KE2 that no password opens.
    pub junk_ke2: u32,
    /// Another device names this backup just after the next one is named.
    pub rival_ledger: Option<LedgerName>,
    /// Before the next ledger is named, a twin of the device names this one.
    pub twin_ledger: Option<LedgerName>,
    /// The leader sends another V than the regions sign.
    pub other_v: bool,
    /// What a rooted leader refuses for no reason.
    pub refuses: Option<Refuses>,
    /// Before the next ledger is named, another device changes the password.
    pub next_generation: bool,
    /// Regions that have not applied what came after this account.
    behind: BTreeMap<u8, Option<Account>>,
    // observations of the test
    pub requests: u64,
    pub connections: u64,
    /// The most regions that a client avoided at once.
    pub most_avoided: usize,
    pub bundles_served: u64,
    /// How many connections meet `stranger`, if there is one.
    pub strangers: u32,
    pub charged: u32,
    pub evaluated: HashSet<(Generation, Ordinal, AttemptId, Element)>,
    pub log: Vec<p::Request>,
    pub relayed: Vec<u8>,
}

pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut b = [0; N];
    rand::rngs::OsRng.fill_bytes(&mut b);
    b
}

pub(super) fn no(code: Code) -> Answer {
    Answer::Refused(p::Refused { code: code.into(), ..Default::default() })
}

pub(super) fn documents(bundle: &[u8]) -> NewDocuments {
    let bundle = outer::Bundle::decode(bundle).unwrap();
    NewDocuments { admission: bundle.admission.to_vec(), policy: bundle.policy.to_vec() }
}

/// The person's route. It lies in shard 0 of the policy's four.
pub(super) const ROUTE: Route = Route([9; 32]);

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
            stranger_regions: Vec::new(),
            unreachable: VecDeque::new(),
            nobody_leads: false,
            rival: false,
            rival_success: false,
            claims_one_left: None,
            claims_consent: false,
            ahead_ms: 0,
            forwards: None,
            token: TOKEN.into(),
            refused_by_regions: None,
            refused_by_leader: None,
            begins_nothing: 0,
            subject: Hash([0; 32]),
            behind_ms: BTreeMap::new(),
            forges_attestations: None,
            unproposed: 0,
            rival_ledger: None,
            twin_ledger: None,
            other_v: false,
            refuses: None,
            next_generation: false,
            junk_ke2: 0,
            behind: BTreeMap::new(),
            replayed: None,
            requests: 0,
            connections: 0,
            most_avoided: 0,
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

    /// The ids in the requests of one kind that any vault has decrypted.
    pub fn ids(&self, id: impl Fn(&Operation) -> Option<Vec<u8>>) -> Vec<Vec<u8>> {
        self.log.iter().filter_map(|r| id(r.operation.as_ref()?)).collect()
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

    /// The deadline of an open last try, or 0.
    pub(super) fn last_try_ends(&self) -> u64 {
        let pending = self.shard.account().and_then(|a| a.pending.as_ref());
        pending.filter(|p| p.last).map_or(0, |p| p.deadline.0)
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
    pub(super) fn tag(&self, nonce: &[u8]) -> Hash {
        let person =
            if self.forwards.unwrap_or(self.token.as_str()) == MALLORY { "mallory" } else { "alice" };
        statement::subject(nonce.try_into().unwrap(), "https://issuer.example", person, 0)
    }

    /// The code with which the leader refuses this request for no reason.
    pub(super) fn refuses(&mut self, operation: &Operation) -> Option<Code> {
        let refuses = self.refuses.as_mut().filter(|r| (r.what)(operation))?;
        refuses.times = refuses.times.checked_sub(1)?;
        Some(refuses.code)
    }

    /// True if only the leader accepts the token of this session.
    pub(super) fn refused(&self) -> bool {
        self.refused_by_regions == Some(self.token.as_str())
    }

    /// True if the leader begins nothing this time.
    pub(super) fn too_few_know_the_key(&mut self) -> bool {
        let nothing = self.begins_nothing > 0;
        self.begins_nothing = self.begins_nothing.saturating_sub(1);
        nothing
    }

    /// The attestations of the first t regions that sign the same, with `all` those of all.
    pub(super) fn attest(&mut self, nonce: &[u8], all: bool) -> p::Attestations {
        let t = usize::from(self.admission().threshold);
        let own = self.regions[self.leader].slot;
        let mut slots = vec![own];
        let applied = |slot: &Slot| match self.behind.get(&slot.0) {
            Some(account) => account.clone(),
            None => self.shard.account().cloned(),
        };
        for slot in self.regions.iter().map(|r| r.slot).filter(|s| *s != own) {
            let same = |s: &Slot| slots.iter().filter(|o| applied(o) == applied(s)).count();
            if all || self.refused() || slots.iter().map(same).max() < Some(t) {
                slots.push(slot);
            }
        }
        self.attest_at(&slots, nonce)
    }

    fn attest_at(&mut self, slots: &[Slot], nonce: &[u8]) -> p::Attestations {
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
            let mut a =
                view::attested(fleet, &self.account, account, nonce, tag, *slot, self.shard.index, time);
            if self.claims_one_left == Some(slot.0) {
                a.tries_left = 1;
            }
            let (certificate, mut signature) = self.sign(*slot, &statement::attestation(&a));
            if self.forges_attestations == Some(slot.0) {
                signature = vec![0; 64].into();
            }
            p::Attestation::new(&a, certificate, signature)
        });
        let all = p::Attestations { regions: regions.collect(), missing };
        self.replayed = Some(all.clone());
        all
    }

    pub(super) fn receipt(&self, leader: usize, kind: ReceiptKind, reference: &[u8]) -> Option<p::Receipt> {
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

    /// A rooted region at this slot signs the state of an account that another region still has.
    pub fn signs_like(&mut self, slot: u8, other: u8) {
        let account = self.behind[&other].clone();
        self.behind.insert(slot, account);
    }

    /// The rooted regions are honest again, and those that lag have caught up.
    pub fn all_follow(&mut self) {
        self.behind.clear();
    }

    /// Moves the deadline of the open attempt.
    pub fn moves_deadline(&mut self, by_ms: i64) {
        let pending = self.shard.account_mut().pending.as_mut().unwrap();
        pending.deadline = Time(pending.deadline.0.saturating_add_signed(by_ms));
    }

    /// From now on the region at this slot applies nothing.
    pub fn holds_back(&mut self, slot: u8) {
        self.behind.insert(slot, self.shard.account().cloned());
    }

    /// Another device's attempt with the newest number succeeds.
    pub fn succeeds(&mut self) {
        let account = self.shard.account_mut();
        account.pending = None;
        account.last_success = Some(Success {
            ordinal: account.ordinal,
            attempt: AttemptId(random()),
            blinded: Element([0; 32]),
            transcript: Vec::new(),
            signature: Signature([0; 64]),
        });
    }

    /// The deadline closes the open attempt.
    pub fn expire(&mut self) {
        let account = self.shard.account_mut();
        let closed = account.pending.take().unwrap();
        account.failed.push(closed.attempt);
    }
}
