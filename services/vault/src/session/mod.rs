//! One inner channel: the encrypted conversation with one client about one account. The token is checked before any lookup. From then on every request
//! acts on that account only. The state machine decides. This module turns requests into commands and outcomes into replies.

mod attempt;
mod attestation;
mod ledgers;
mod owned;
mod permits;
mod region;
mod register;
mod reply;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bkv_core::account::Account;
use bkv_core::command::{Command, Delete};
use bkv_core::id::{AccountId, AttemptId, RegId, Route, Slot};
use bkv_core::outcome::Outcome;
use bkv_core::possession::Use;
use bkv_core::secret::Secret32;
use bkv_core::shard::Fleet;
use bkv_core::statement::ReceiptKind;
use bkv_crypto::opaque::ServerState;
use bkv_tokens::key_id;
use bkv_wire::bounds;
use bkv_wire::channel::Channel;
use bkv_wire::possession;
use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::missing_region::Reason;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;
use prost::Message as _;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::replica::{Committed, ProposeError, Replica};
use crate::service::{Asker, Person, Shown, Vault};
use attestation::Regions;
use reply::{no, refused};

/// How long one request may take, all regions included.
const REQUEST: Duration = Duration::from_secs(5);
/// The seconds of life that a token must have left for a Begin or a Store.
const LIFE: u64 = 30;
/// How many registrations a client may begin on one channel.
const STARTS: usize = 4;
/// How many requests a client may send on one channel. An honest client needs a handful.
const REQUESTS: u32 = 256;

/// What the relay does after a request.
pub enum End {
    /// Continue.
    Open,
    /// This vault does not lead the account's shard.
    NotLeader(String),
    /// The channel is finished: a protocol error or too many requests.
    Close,
}

/// Known after `Open`: the person, the account and its shard.
struct Known {
    person: Person,
    /// For the other regions: each verifies the token itself.
    shown: Shown,
    id: AccountId,
    replica: Replica,
}

/// Between RegisterStart and Store.
struct Start {
    z: Secret32,
    request: Vec<u8>,
    response: Vec<u8>,
}

/// Between KE1 and Finish.
struct Login {
    ke1: Vec<u8>,
    ke2: Vec<u8>,
    state: ServerState,
}

/// A Begin of this channel that was charged, or repeated free.
#[derive(Clone)]
struct Begun {
    attempt: AttemptId,
    /// The other regions verify the proof themselves, and it signs this too.
    may_be_last: bool,
    proof: Option<p::Proof>,
}

/// One client's conversation.
pub struct Session {
    vault: Arc<Vault>,
    route: Route,
    channel: Channel,
    known: Option<Known>,
    starts: HashMap<RegId, Start>,
    login: Option<(AttemptId, Login)>,
    /// The attempt that this channel has begun or repeated.
    begun: Option<Begun>,
    requests: u32,
    /// When this vault's half of the handshake was sent.
    greeted: Option<Instant>,
    /// How long the client's answer to it took.
    round_trip: Duration,
}

impl Session {
    /// A session before its first byte. None if the channel can't be made.
    pub fn new(vault: Arc<Vault>, route: Route) -> Option<Self> {
        let channel = vault.new_channel().ok()?;
        Some(Self {
            vault,
            route,
            channel,
            known: None,
            starts: HashMap::new(),
            login: None,
            begun: None,
            requests: 0,
            greeted: None,
            round_trip: Duration::ZERO,
        })
    }

    /// Takes received bytes. Returns the bytes to send and whether the relay keeps the stream.
    pub async fn data(&mut self, bytes: &[u8]) -> (Vec<u8>, End) {
        match self.greeted {
            None => self.greeted = Some(Instant::now()),
            Some(at) if self.round_trip.is_zero() => self.round_trip = at.elapsed(),
            Some(_) => {}
        }
        if self.channel.feed(bytes).is_err() {
            return (self.channel.take_outgoing(), End::Close);
        }
        let mut end = End::Open;
        loop {
            match self.channel.next_message() {
                Ok(Some(message)) => {
                    end = self.message(&message).await;
                    if !matches!(end, End::Open) {
                        break;
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    end = End::Close;
                    break;
                }
            }
        }
        (self.channel.take_outgoing(), end)
    }

    async fn message(&mut self, message: &[u8]) -> End {
        self.requests += 1;
        let Ok(request) = p::Request::decode(message) else { return End::Close };
        let Some(operation) = request.operation else {
            return self.answer(
                request.id,
                "unknown",
                Ok(no(p::refused::Code::Malformed, "this vault does not know the operation")),
            );
        };
        if self.requests > REQUESTS {
            let _ = self.answer(
                request.id,
                "any",
                Ok(no(p::refused::Code::Rate, "too many requests on one channel")),
            );
            return End::Close;
        }
        self.vault.observer().decrypted(&operation);
        let (name, _) = bounds::of(&operation);
        let timer = self.vault.metrics().duration.with_label_values(&[name]).start_timer();
        let result = match bounds::check(&operation, message.len()) {
            Ok(()) => self.operation(operation).await,
            // Every fault of the token gets the same refusal.
            Err(_) if self.known.is_none() => Ok(reply::token_refused()),
            Err(oversized) => Err(oversized.into()),
        };
        timer.observe_duration();
        self.answer(request.id, name, result)
    }

    fn answer(&mut self, id: u64, name: &str, result: Result<Answer, ProposeError>) -> End {
        let (answer, end) = match result {
            Ok(answer) => (answer, End::Open),
            Err(ProposeError::NotLeader(leader)) => {
                let region = leader.map(|n| self.vault.region_of(n)).unwrap_or_default();
                return End::NotLeader(region);
            }
            Err(ProposeError::Unavailable(why) | ProposeError::Halted(why)) => {
                (no(p::refused::Code::Unavailable, &why), End::Open)
            }
            Err(e @ ProposeError::Oversized(_)) => {
                (no(p::refused::Code::Malformed, &e.to_string()), End::Open)
            }
            Err(e @ ProposeError::Full) => (no(p::refused::Code::Full, &e.to_string()), End::Open),
            Err(e @ ProposeError::Busy) => (no(p::refused::Code::Busy, &e.to_string()), End::Open),
        };
        let outcome = reply::outcome(&answer);
        self.vault.metrics().requests.with_label_values(&[name, outcome]).inc();
        let token = matches!(&answer, Answer::Refused(r) if r.code == i32::from(p::refused::Code::Token));
        let reply = p::Reply { id, more: false, result: Some(answer) };
        if self.channel.send(&reply.encode_to_vec()).is_err() || token {
            return End::Close;
        }
        end
    }

    async fn operation(&mut self, operation: Operation) -> Result<Answer, ProposeError> {
        let deadline = self.vault.node().peers().deadline(REQUEST, 4);
        match operation {
            Operation::Open(o) => self.open(o, deadline).await,
            _ if self.known.is_none() => Ok(reply::token_refused()),
            Operation::Attest(a) => self
                .attest(&a.nonce, Regions::new(true, a.all), deadline)
                .await
                .map(|r| r.map_or_else(|a| a, Answer::Attestations)),
            Operation::RegisterStart(r) => self.register_start(&r),
            Operation::Store(s) => self.store(s, deadline).await,
            Operation::Confirm(c) => self.confirm(&c, deadline).await,
            Operation::Begin(b) => self.begin(&b, deadline).await,
            Operation::MoreEvaluations(m) => self.more_evaluations(&m, deadline).await,
            Operation::KeyExchange(k) => self.key_exchange(&k).await,
            Operation::GiveUp(g) => self.give_up(&g, deadline).await,
            Operation::Finish(f) => self.finish(f, deadline).await,
            Operation::SetLedger(m) => {
                let command = |account, owner| m.command(account, owner).ok().map(Command::SetLedger);
                self.owned("set_ledger", m.owner.as_ref(), deadline, command).await
            }
            Operation::ForgetWriter(m) => {
                let command = |account, owner| m.command(account, owner).ok().map(Command::ForgetWriter);
                self.owned("forget_writer", m.owner.as_ref(), deadline, command).await
            }
            Operation::ReadLedgers(r) => self.read_ledgers(&r, deadline).await,
            Operation::Delete(d) => {
                let command = |account, owner| Some(Command::Delete(Delete { account, owner }));
                self.owned("delete", d.owner.as_ref(), deadline, command).await
            }
        }
    }

    /// Checks the token before everything else. Every fault of the token gives the same refusal of the same size, so that an attacker can't learn whether
    /// an account exists.
    async fn open(&mut self, o: p::Open, deadline: Instant) -> Result<Answer, ProposeError> {
        let token = Zeroizing::new(o.token);
        let Ok(nonce) = <[u8; 32]>::try_from(&o.nonce[..]) else { return Ok(reply::token_refused()) };
        let person = match self.vault.person(&token).await {
            Ok(person) => person,
            Err(e) => {
                tracing::debug!(error = %e, "token refused");
                return Ok(reply::token_refused());
            }
        };
        if person.route() != self.route {
            return Ok(reply::token_refused());
        }
        let Some(replica) = self.vault.replica(&self.route).cloned() else {
            return Ok(reply::token_refused());
        };
        let (lead, leader) = {
            let status = replica.status();
            let s = status.borrow();
            (s.lead, s.leader)
        };
        if !lead {
            return Err(ProposeError::NotLeader(leader));
        }
        let Some(fleet) = replica.fleet() else {
            return Err(ProposeError::Unavailable("not initialised".into()));
        };
        let id = person.account(&fleet);
        let channel = self
            .channel
            .exporter(possession::EXPORTER, b"")
            .map_err(|e| ProposeError::Unavailable(e.to_string()))?;
        let proved = person.proves(&fleet, &nonce, &Use::Session { channel: &channel }, o.proof.as_ref());
        if let Err(e) = proved {
            tracing::debug!(error = %e, "token refused");
            return Ok(reply::token_refused());
        }
        self.known =
            Some(Known { person, shown: Shown { token, nonce, channel, proof: o.proof }, id, replica });
        let attestations = match self.attest(&o.nonce, Regions::new(o.attest, o.all), deadline).await? {
            Ok(a) => a,
            Err(answer) => return Ok(answer),
        };
        Ok(Answer::Opened(p::Opened {
            account: id.0.to_vec().into(),
            attestations: Some(attestations),
            time_ms: self.vault.now_ms(),
            admission: fleet.documents.admission.number,
            policy: fleet.documents.policy.number,
        }))
    }

    fn known(&self) -> Result<(AccountId, Replica, Arc<Fleet>), ProposeError> {
        let known = self.known.as_ref().ok_or_else(|| ProposeError::Unavailable("not open".into()))?;
        let fleet =
            known.replica.fleet().ok_or_else(|| ProposeError::Unavailable("not initialised".into()))?;
        Ok((known.id, known.replica.clone(), fleet))
    }

    /// Refuses a request if the token that came with `Open` has less than `life` seconds left by this vault's clock, or if the request begins something and too few regions
    /// know the token's key. Otherwise other regions might refuse the token a moment later, after a try is charged.
    fn token_falls_short(&self, life: u64) -> Result<Option<Answer>, ProposeError> {
        let token = &self.person()?.1.token;
        let fresh = |why| Ok(Some(no(p::refused::Code::FreshToken, why)));
        if !self.vault.lives(token, life) {
            return fresh("the token ends too soon for this request");
        }
        let refused = self.vault.refused_keys();
        if life > 0 && !refused.is_empty() {
            let (list, key) = (&self.known()?.2.documents.admission, key_id(token).unwrap_or_default());
            if refused.leave_too_few(&key, list, Instant::now()) {
                return fresh("too few regions accept tokens of this key now");
            }
        }
        Ok(None)
    }

    /// Remembers which regions refuse this session's token. A token that ends soon says nothing about its key: with such tokens one person could keep others out.
    fn remember_refusals(&self, missing: &[p::MissingRegion]) {
        let Ok((_, shown)) = self.person() else { return };
        let refusing = missing.iter().filter(|m| m.reason() == Reason::Token);
        let mut slots = refusing.filter_map(|m| u8::try_from(m.slot).ok()).peekable();
        if slots.peek().is_none() || !self.vault.lives(&shown.token, LIFE) {
            return;
        }
        let key = key_id(&shown.token).unwrap_or_default();
        slots.for_each(|slot| self.vault.refused_keys().refused(Slot(slot), &key, Instant::now()));
    }

    /// The person of this session, and what the other regions need to verify that themselves.
    fn person(&self) -> Result<(&Person, &Shown), ProposeError> {
        let known = self.known.as_ref().ok_or_else(|| ProposeError::Unavailable("not open".into()))?;
        Ok((&known.person, &known.shown))
    }

    /// The person of this session, with the proof for one request.
    fn asker<'a>(&'a self, proof: Option<&'a p::Proof>) -> Result<Asker<'a>, ProposeError> {
        let (person, shown) = self.person()?;
        Ok(Asker { person, nonce: &shown.nonce, proof })
    }

    /// Refuses a request whose proof is not by the token's key over exactly this use. The other regions would refuse it too, after a try is charged.
    fn proof_falls_short(
        &self,
        what: &Use<'_>,
        proof: Option<&p::Proof>,
    ) -> Result<Option<Answer>, ProposeError> {
        let ((_, _, fleet), (person, shown)) = (self.known()?, self.person()?);
        let proved = person.proves(&fleet, &shown.nonce, what, proof);
        Ok(proved.err().map(|e| no(p::refused::Code::Proof, &e.to_string())))
    }

    fn account(&self) -> Result<Option<Arc<Account>>, ProposeError> {
        let (id, replica, _) = self.known()?;
        replica.account(&id).map_err(|e| ProposeError::Unavailable(e.to_string()))
    }

    async fn propose(&self, command: Command, deadline: Instant) -> Result<Committed, ProposeError> {
        self.known()?.1.propose(command, deadline).await
    }

    /// The receipt for a change that `committed` made, or found already made.
    fn done(
        &self,
        kind: ReceiptKind,
        reference: &[u8],
        committed: &Committed,
    ) -> Result<Answer, ProposeError> {
        let (id, _, fleet) = self.known()?;
        if let Outcome::Refused(why) = &committed.outcome {
            return Ok(refused(*why));
        }
        let Some(account) = self.account()? else { return Ok(no(p::refused::Code::NoKey, "")) };
        let receipt =
            self.vault.receipt(&fleet, &id, &account, kind, reference, committed.index, committed.time);
        Ok(Answer::Done(p::Done { receipt }))
    }
}
