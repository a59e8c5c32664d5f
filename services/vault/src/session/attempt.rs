//! Attempts: charge, gather evaluations, exchange keys, finish. A request repeated with the same ids gets the same bytes and costs nothing.

use std::time::Duration;

use bkv_core::account::Account;
use bkv_core::command::{Begin, Command, Finish, GiveUp};
use bkv_core::id::{AttemptId, Element, Generation, Hash, Ordinal};
use bkv_core::outcome::{Outcome, Refusal};
use bkv_core::possession::Use;
use bkv_core::secret::Secret32;
use bkv_core::statement::ReceiptKind;
use bkv_core::view;
use bkv_crypto::opaque::{ServerState, SessionKey};
use bkv_crypto::reply;
use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::peer;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use prost::Message as _;
use tokio::time::{Instant, sleep_until};

use super::region::{Contribution, contribution, encoded, too_few};
use super::reply::{no, refused};
use super::{Begun, LIFE, Login, Session, permits};
use crate::peer::Body;
use crate::replica::{Committed, ProposeError};
use crate::server_keys::server_keys;
use crate::service::{REGIONS, RegionError, attempt_queue};

/// If a region has not evaluated after this time and a round trip, another region is asked too.
const HEDGE: Duration = Duration::from_millis(60);
/// Most proposals of one Begin. The session proposes it again if another attempt took the ordinal.
const AGAIN: usize = 4;

/// The ordinal of a Begin with this id: that of the open attempt, or the next.
fn ordinal(account: Option<&Account>, attempt: &AttemptId) -> Ordinal {
    let Some(account) = account else { return Ordinal(1) };
    let open = account.pending.as_ref().filter(|p| p.attempt == *attempt);
    open.map_or(Ordinal(account.ordinal.0.saturating_add(1)), |p| p.ordinal)
}

impl Session {
    pub(super) async fn begin(&mut self, b: &p::Begin, deadline: Instant) -> Result<Answer, ProposeError> {
        let (id, ..) = self.known()?;
        let parsed = (
            AttemptId::try_from(&b.attempt[..]),
            Element::try_from(&b.blinded[..]),
            Hash::try_from(&b.cancel[..]),
        );
        let (Ok(attempt), Ok(blinded), Ok(cancel)) = parsed else { return Ok(no(Code::Malformed, "begin")) };
        let may_be_last = b.may_be_last;
        let what = Use::Attempt { attempt: &attempt, blinded: &blinded, cancel: &cancel, may_be_last };
        if let Some(answer) = self.proof_falls_short(&what, b.proof.as_ref())? {
            return Ok(answer);
        }
        let begun = Begun { attempt, may_be_last, proof: b.proof.clone() };
        // A repetition of the open attempt does not wait in the queue: it is that attempt.
        if !self.is_open(&attempt)? {
            // Before the queue: the leader would otherwise answer BUSY while another attempt is under way, and the client would not fetch a fresh token.
            if let Some(answer) = self.token_falls_short(LIFE)? {
                return Ok(answer);
            }
            let lease = attempt_queue::lease(self.round_trip);
            let acquired = self.vault.attempt_queues().acquire(id, attempt, lease).await;
            acquired.map_err(|attempt_queue::Busy| ProposeError::Busy)?;
        }
        let answer = self.charge(begun, blinded, cancel, deadline).await;
        // Without an answer from the majority the attempt may have begun.
        if !matches!(answer, Err(ProposeError::Unavailable(_))) && !self.is_open(&attempt)? {
            self.vault.attempt_queues().release(&id, &attempt);
        }
        answer
    }

    fn is_open(&self, attempt: &AttemptId) -> Result<bool, ProposeError> {
        Ok(self.account()?.and_then(|a| a.pending.as_ref().map(|p| p.attempt == *attempt)).unwrap_or(false))
    }

    async fn charge(
        &mut self,
        begun: Begun,
        blinded: Element,
        cancel: Hash,
        deadline: Instant,
    ) -> Result<Answer, ProposeError> {
        let (attempt, may_be_last) = (begun.attempt, begun.may_be_last);
        // The token may have come close to its end while the attempt waited in the queue. An attempt that is already charged goes on with it as long as it is
        // valid: a person without another token would lose the try otherwise.
        let life = if self.is_open(&attempt)? { 0 } else { LIFE };
        if let Some(answer) = self.token_falls_short(life)? {
            return Ok(answer);
        }
        let (id, _, fleet) = self.known()?;
        for _ in 0..AGAIN {
            let account = self.account()?;
            let mut command = Begin {
                account: id,
                generation: account.as_ref().map_or(Generation(0), |a| a.generation),
                ordinal: ordinal(account.as_deref(), &attempt),
                attempt,
                blinded,
                cancel,
                seed: Secret32::new(self.vault.random_bytes()),
                may_be_last,
                permits: Vec::new(),
            };
            let mut missing = Vec::new();
            if account.is_some_and(|a| permits::needed(&a, &command, self.vault.now_ms())) {
                let permits = self.permits(&command, begun.proof.as_ref(), deadline).await?;
                (command.permits, missing) = (permits.good, permits.missing);
            }
            let (permits, want) = (command.permits.len(), usize::from(fleet.documents.admission.threshold));
            // A refusal goes through the log too: this vault may have been deposed without noticing, and its refusal would be stale.
            let committed = self.propose(Command::Begin(command), deadline).await?;
            match committed.outcome {
                Outcome::Refused(Refusal::Stale) => {}
                Outcome::Refused(Refusal::Permits) => return Ok(too_few(permits, want, &missing)),
                Outcome::Refused(why) => return Ok(refused(why)),
                _ => {
                    let answer = self.evaluations(&begun, committed.index, false, deadline).await;
                    self.begun = Some(begun);
                    return answer;
                }
            }
        }
        Ok(no(Code::Stale, "other attempts took the ordinal; repeat the same request"))
    }

    pub(super) async fn more_evaluations(
        &self,
        m: &p::MoreEvaluations,
        deadline: Instant,
    ) -> Result<Answer, ProposeError> {
        let Ok(attempt) = AttemptId::try_from(&m.attempt[..]) else {
            return Ok(no(Code::Malformed, "attempt"));
        };
        if let Some(answer) = self.token_falls_short(0)? {
            return Ok(answer);
        }
        // A thief of a device's kept last try knows its id but not B. Evaluations of B would let the thief test passwords offline.
        let last = self.account()?.is_some_and(|a| a.pending.as_ref().is_some_and(|p| p.last));
        let begun = match self.begun.clone().filter(|b| b.attempt == attempt) {
            Some(begun) => begun,
            // A bound token needs the proof that came with the Begin.
            None if last || self.person()?.0.is_bound() => {
                return Ok(no(Code::NoAttempt, "this channel has not begun the attempt"));
            }
            None => Begun { attempt, may_be_last: false, proof: None },
        };
        let (_, replica, _) = self.known()?;
        self.evaluations(&begun, replica.applied(), true, deadline).await
    }

    /// Gathers t evaluations, or with `all` every one that is available: this region's own and as many others' as needed. A slow region is backed up by the next.
    async fn evaluations(
        &self,
        begun: &Begun,
        index: u64,
        all: bool,
        deadline: Instant,
    ) -> Result<Answer, ProposeError> {
        let (id, replica, fleet) = self.known()?;
        let (asker, shown) = (self.asker(begun.proof.as_ref())?, self.person()?.1);
        let (attempt, may_be_last) = (&begun.attempt, begun.may_be_last);
        let Some(account) = self.account()? else { return Ok(no(Code::NoKey, "")) };
        let Some(pending) = view::attempt(&fleet, &id, &account).filter(|a| a.attempt == *attempt) else {
            return Ok(no(Code::NoAttempt, "superseded or closed"));
        };
        let admission = &fleet.documents.admission;
        let (want, me) = (usize::from(admission.threshold), self.vault.node().node());
        let until = deadline.min(self.vault.node().peers().deadline(REGIONS, 2));
        let mut others: Vec<_> = admission.members.iter().filter(|m| m.node != me).collect();
        // The order spreads attempts over the regions and is the same for a repeated attempt.
        let turn = usize::from(attempt.0.first().copied().unwrap_or(0)) % others.len().max(1);
        others.rotate_left(turn);
        let mut next = others.into_iter();
        let call = peer::Evaluate {
            shard: u32::from(replica.shard().0),
            account: id.0.to_vec().into(),
            attempt: attempt.0.to_vec().into(),
            committed: index,
            token: shown.token.to_string(),
            nonce: shown.nonce.to_vec().into(),
            proof: encoded(begun.proof.as_ref()),
            may_be_last,
        };
        let ask = |m: &bkv_core::document::Member| -> BoxFuture<'static, Contribution<p::Evaluation>> {
            let (peers, node, slot, call) =
                (self.vault.node().peers().clone(), m.node, m.slot.0, call.clone());
            Box::pin(async move {
                contribution(slot, peers.call(node, Body::Evaluate(call), until).await, |body| match body {
                    Body::Evaluated(e) => Some((e.evaluation, e.missing)),
                    _ => None,
                })
            })
        };
        let mut running: FuturesUnordered<BoxFuture<'_, Contribution<p::Evaluation>>> =
            FuturesUnordered::new();
        let own_slot = self.vault.slot().map_or(0, |s| s.0);
        let own = self.vault.evaluate(&replica, asker, attempt, may_be_last, index, until);
        running.push(Box::pin(async move { own.await.map_err(|e| e.missing(own_slot)) }));
        let first = if all { usize::MAX } else { want - 1 };
        for m in next.by_ref().take(first) {
            running.push(ask(m));
        }
        let (mut good, mut missing) = (Vec::new(), Vec::new());
        let hedge_after = self.vault.node().peers().timing().limit(HEDGE, 1);
        let mut hedge = Instant::now() + hedge_after;
        while !running.is_empty() && (all || good.len() < want) {
            tokio::select! {
                Some(answer) = running.next() => match answer {
                    Ok(e) => good.push(e),
                    Err(region) => {
                        missing.push(region);
                        if let Some(m) = next.next() {
                            running.push(ask(m));
                        }
                    }
                },
                () = sleep_until(hedge) => {
                    hedge = Instant::now() + hedge_after;
                    if let Some(m) = next.next() {
                        running.push(ask(m));
                    } else {
                        hedge = until + HEDGE;
                    }
                }
            }
        }
        self.remember_refusals(&missing);
        if good.len() < want {
            return Ok(too_few(good.len(), want, &missing));
        }
        Ok(Answer::Begun(p::Begun {
            generation: pending.generation.0,
            ordinal: pending.ordinal.0,
            commitments: pending.commitments.iter().map(|c| c.0.to_vec().into()).collect(),
            ksf_memory_kib: pending.ksf.memory_kib,
            ksf_passes: pending.ksf.passes,
            ksf_lanes: pending.ksf.lanes,
            record: pending.record.0.to_vec().into(),
            success: pending.success.0,
            budget: pending.budget,
            evaluations: good,
            missing,
            right: pending.right.0.to_vec().into(),
            until_ms: account.pending.as_ref().filter(|p| p.last).map_or(0, |p| p.deadline.0),
        }))
    }

    pub(super) async fn key_exchange(&mut self, k: &p::KeyExchange) -> Result<Answer, ProposeError> {
        let Ok(attempt) = AttemptId::try_from(&k.attempt[..]) else {
            return Ok(no(Code::Malformed, "attempt"));
        };
        let Some(account) = self.account()? else { return Ok(no(Code::NoKey, "")) };
        match self.exchange(&account, &attempt, &k.ke1).await? {
            Ok((login, ke2)) => {
                self.login = Some((attempt, login));
                Ok(Answer::KeyExchanged(p::KeyExchanged { ke2: ke2.into() }))
            }
            Err(answer) => Ok(answer),
        }
    }

    /// Answers KE1 with KE2, the same bytes each time: for the pending attempt, or for the last finished one, whose reply may have been lost.
    async fn exchange(
        &self,
        account: &Account,
        attempt: &AttemptId,
        ke1: &[u8],
    ) -> Result<Result<(Login, Vec<u8>), Answer>, ProposeError> {
        let (id, replica, fleet) = self.known()?;
        let Some((seed, context)) = view::login(&fleet, &id, account, attempt) else {
            return Ok(Err(no(Code::NoAttempt, "superseded or closed")));
        };
        let Some(live) = &account.live else { return Ok(Err(no(Code::NoKey, ""))) };
        let unavailable = |e: RegionError| ProposeError::Unavailable(e.to_string());
        let unmasked = self.vault.secrets_of(&replica, &id, account, attempt).await.map_err(unavailable)?;
        let server = match server_keys(&live.record.server, &unmasked.z) {
            Ok(server) => server,
            Err(e) => {
                // KE2 from another z looks like a wrong password. Let another region lead, which has the right z: the client goes on with it, free.
                tracing::error!(error = %e, "this vault can't answer for an account and hands its shard's leadership on");
                replica.step_down();
                return Err(unavailable(e.into()));
            }
        };
        match server.answer(seed.expose(), &live.record.upload, &context.0, ke1) {
            Ok((state, ke2)) => Ok(Ok((Login { ke1: ke1.to_vec(), ke2: ke2.clone(), state }, ke2))),
            Err(e) => Ok(Err(no(Code::Malformed, &e.to_string()))),
        }
    }

    pub(super) async fn give_up(&mut self, g: &p::GiveUp, deadline: Instant) -> Result<Answer, ProposeError> {
        let (id, ..) = self.known()?;
        let parsed = (AttemptId::try_from(&g.attempt[..]), <[u8; 32]>::try_from(&g.cancel[..]));
        let (Ok(attempt), Ok(cancel)) = parsed else { return Ok(no(Code::Malformed, "give up")) };
        let command = GiveUp { account: id, attempt, cancel: Secret32::new(cancel) };
        let committed = self.propose(Command::GiveUp(command), deadline).await?;
        self.vault.forget(&id, &attempt);
        if !matches!(committed.outcome, Outcome::Refused(_)) {
            self.vault.attempt_queues().release(&id, &attempt);
        }
        self.done(ReceiptKind::GivenUp, &attempt.0, &committed)
    }

    pub(super) async fn finish(&mut self, f: p::Finish, deadline: Instant) -> Result<Answer, ProposeError> {
        let (id, ..) = self.known()?;
        let Ok(attempt) = AttemptId::try_from(&f.attempt[..]) else {
            return Ok(no(Code::Malformed, "attempt"));
        };
        let Some(account) = self.account()? else { return Ok(no(Code::NoKey, "")) };
        let key = match self.session_key(&account, &attempt, &f).await? {
            Ok(key) => key,
            Err(answer) => return Ok(answer),
        };
        let command =
            Finish { account: id, attempt, ke1: f.ke1.to_vec(), ke2: f.ke2.to_vec(), ke3: f.ke3.to_vec() };
        let committed = self.propose(Command::Finish(command), deadline).await?;
        if let Outcome::Refused(why) = committed.outcome {
            return Ok(refused(why));
        }
        self.vault.forget(&id, &attempt);
        self.vault.attempt_queues().release(&id, &attempt);
        self.finished(&attempt, &key, &committed)
    }

    /// The leader also checks the MAC, which gives the session key. The counter does not depend on this check, since every replica checks the signature.
    async fn session_key(
        &mut self,
        account: &Account,
        attempt: &AttemptId,
        f: &p::Finish,
    ) -> Result<Result<SessionKey, Answer>, ProposeError> {
        let (id, _, fleet) = self.known()?;
        let Some((_, context)) = view::login(&fleet, &id, account, attempt) else {
            return Ok(Err(no(Code::NoAttempt, "superseded or closed")));
        };
        let kept = self.login.take().filter(|(a, l)| a == attempt && l.ke1 == f.ke1 && l.ke2 == f.ke2);
        let state: ServerState = match kept {
            Some((_, login)) => login.state,
            None => match self.exchange(account, attempt, &f.ke1).await? {
                Ok((login, ke2)) if ke2 == f.ke2 => login.state,
                Ok(_) => return Ok(Err(no(Code::Proof, "KE2 does not belong to this attempt"))),
                Err(answer) => return Ok(Err(answer)),
            },
        };
        Ok(state.finish(&f.ke3, &context.0).map_err(|_| no(Code::Proof, "KE3 is not valid")))
    }

    fn finished(
        &self,
        attempt: &AttemptId,
        key: &SessionKey,
        committed: &Committed,
    ) -> Result<Answer, ProposeError> {
        let (id, _, fleet) = self.known()?;
        let Some(account) = self.account()? else { return Ok(no(Code::NoKey, "")) };
        let Some(live) = &account.live else { return Ok(no(Code::NoKey, "")) };
        let body = p::FinishedBody {
            record: live.record.encode().into(),
            vs: account.writers.iter().map(p::WriterV::from).collect(),
            lifetime_failures: account.lifetime_failures,
        };
        let exporter = self
            .channel
            .exporter(reply::EXPORTER, b"")
            .map_err(|e| ProposeError::Unavailable(e.to_string()))?;
        let sealed = reply::seal(key, &exporter, &attempt.0, body.encode_to_vec())
            .map_err(|e| ProposeError::Unavailable(e.to_string()))?;
        let receipt = self.vault.receipt(
            &fleet,
            &id,
            &account,
            ReceiptKind::Recovered,
            &attempt.0,
            committed.index,
            committed.time,
        );
        Ok(Answer::Finished(p::Finished { sealed: sealed.into(), receipt }))
    }
}
