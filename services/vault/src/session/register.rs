//! Registration. The session makes z and keeps it in memory until Store. It gathers acknowledgements from all regions.

use bkv_core::command::{Command, Confirm, Store};
use bkv_core::id::{Hash, RegId, Signature};
use bkv_core::outcome::Outcome;
use bkv_core::possession::Use;
use bkv_core::record::{Record, SealedShare, shares_hash};
use bkv_core::secret::Secret32;
use bkv_core::signature::{OwnerSignature, RegionSignature};
use bkv_core::statement::ReceiptKind;
use bkv_crypto::opaque::Server;
use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::peer;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::region::{contribution, encoded, too_few};
use super::reply::{no, refused};
use super::{LIFE, STARTS, Session, Start};
use crate::peer::Body;
use crate::replica::{Committed, ProposeError};
use crate::service::REGIONS;

fn malformed(what: &str) -> Answer {
    no(Code::Malformed, what)
}

impl Session {
    pub(super) fn register_start(&mut self, r: &p::RegisterStart) -> Result<Answer, ProposeError> {
        if self.starts.len() >= STARTS {
            return Ok(no(Code::Rate, "too many registrations begun on one channel"));
        }
        let base = self.account()?.map_or(0, |a| a.generation.0);
        let (z, reg_id): ([u8; 32], [u8; 16]) = (self.vault.random_bytes(), self.vault.random_bytes());
        let response = match Server::new(&z).and_then(|s| s.register(&r.request)) {
            Ok(response) => response,
            Err(e) => return Ok(malformed(&e.to_string())),
        };
        let start = Start { z: Secret32::new(z), request: r.request.to_vec(), response: response.clone() };
        self.starts.insert(RegId(reg_id), start);
        Ok(Answer::RegisterStarted(p::RegisterStarted {
            reg_id: reg_id.to_vec().into(),
            response: response.into(),
            base_generation: base,
        }))
    }

    pub(super) async fn store(&mut self, s: p::Store, deadline: Instant) -> Result<Answer, ProposeError> {
        let (id, replica, fleet) = self.known()?;
        let regions = fleet.documents.admission.members.len();
        if s.shares.len() != regions {
            return Ok(malformed(&format!(
                "store.shares has {} elements, exactly {regions} are needed",
                s.shares.len()
            )));
        }
        let record = match Record::decode(&s.record) {
            Ok(record) => record,
            Err(e) => return Ok(malformed(&e.to_string())),
        };
        let Ok(shares) = s.shares.iter().map(SealedShare::try_from).collect::<Result<Vec<_>, _>>() else {
            return Ok(malformed("shares"));
        };
        let Ok(owner) = s.owner.as_ref().map(OwnerSignature::try_from).transpose() else {
            return Ok(malformed("owner"));
        };
        let reg_id = record.reg_id;
        let what = Use::Registration { reg_id: &reg_id, record: &record.hash() };
        if let Some(answer) = self.proof_falls_short(&what, s.proof.as_ref())? {
            return Ok(answer);
        }
        let known = self.account()?.and_then(|a| {
            let stored = a.stored.as_ref().map(|k| (k.record.reg_id, k.hash, k.shares));
            let live = a.live.as_ref().map(|k| (k.record.reg_id, k.hash, k.shares));
            stored.into_iter().chain(live).find(|k| k.0 == reg_id)
        });
        // A repetition goes on with the token as long as it is valid.
        let life = if known.is_some() { 0 } else { LIFE };
        if let Some(answer) = self.token_falls_short(life)? {
            return Ok(answer);
        }
        let index = if let Some((_, hash, kept)) = known {
            // An earlier session stored it and its reply was lost.
            if hash != record.hash() || kept != shares_hash(&shares) {
                return Ok(no(Code::Conflict, "this registration was stored with other content"));
            }
            replica.applied()
        } else {
            let Some(start) = self.starts.get(&reg_id) else {
                return Ok(no(
                    Code::NoAttempt,
                    "this registration was begun on another channel: start again",
                ));
            };
            if start.request != s.request || start.response != s.response {
                return Ok(no(Code::Proof, "request and response do not belong to this registration"));
            }
            let command = Store {
                account: id,
                route: self.route,
                request: start.request.clone(),
                response: start.response.clone(),
                record,
                shares,
                z: start.z.clone(),
                owner,
            };
            let committed = self.propose(Command::Store(Box::new(command)), deadline).await?;
            if let Outcome::Refused(why) = committed.outcome {
                return Ok(refused(why));
            }
            committed.index
        };
        Ok(self.acknowledgements(reg_id, s.proof.as_ref(), index, deadline).await)
    }

    /// Asks every region for its acknowledgement. If a region does not answer in time, the client asks again by the same Store.
    async fn acknowledgements(
        &self,
        reg_id: RegId,
        proof: Option<&p::Proof>,
        index: u64,
        deadline: Instant,
    ) -> Answer {
        let (Ok((id, replica, fleet)), Ok((_, shown)), Ok(asker)) =
            (self.known(), self.person(), self.asker(proof))
        else {
            return no(Code::Unavailable, "not open");
        };
        let until = deadline.min(self.vault.node().peers().deadline(REGIONS / 2, 2));
        let me = self.vault.node().node();
        let body = peer::Acknowledge {
            shard: u32::from(replica.shard().0),
            account: id.0.to_vec().into(),
            reg_id: reg_id.0.to_vec().into(),
            committed: index,
            token: shown.token.to_string(),
            nonce: shown.nonce.to_vec().into(),
            proof: encoded(proof),
        };
        let others = fleet.documents.admission.members.iter().filter(|m| m.node != me);
        let asked = others.map(|m| {
            let call = self.vault.node().peers().call(m.node, Body::Acknowledge(body.clone()), until);
            async move {
                contribution(m.slot.0, call.await, |body| match body {
                    Body::Acknowledged(a) => Some((a.acknowledgement, a.missing)),
                    _ => None,
                })
            }
        });
        let own = self.vault.acknowledge(&replica, asker, &reg_id, index, until);
        let (own, mut answers) = tokio::join!(own, join_all(asked));
        if let Err(why) = &own {
            tracing::warn!(error = %why, "this region can't acknowledge a registration");
        }
        let own_slot = self.vault.slot().map_or(0, |s| s.0);
        answers.push(own.map_err(|e| e.missing(own_slot)));
        let (mut acknowledgements, mut missing) = (Vec::new(), Vec::new());
        for answer in answers {
            match answer {
                Ok(acknowledgement) => acknowledgements.push(acknowledgement),
                Err(region) => missing.push(region),
            }
        }
        self.remember_refusals(&missing);
        let want = usize::from(fleet.documents.admission.threshold);
        if acknowledgements.len() < want {
            return too_few(acknowledgements.len(), want, &missing);
        }
        Answer::Acknowledged(p::Acknowledged { acknowledgements })
    }

    pub(super) async fn confirm(
        &mut self,
        c: &p::Confirm,
        deadline: Instant,
    ) -> Result<Answer, ProposeError> {
        let (id, _, fleet) = self.known()?;
        let (sent, regions) = (c.acknowledgements.len(), fleet.documents.admission.members.len());
        if sent > regions {
            return Ok(malformed(&format!(
                "confirm.acknowledgements has {sent} elements, at most {regions} are allowed"
            )));
        }
        let parsed = (
            RegId::try_from(&c.reg_id[..]),
            Hash::try_from(&c.record[..]),
            Signature::try_from(&c.signature[..]),
            Hash::try_from(&c.subject[..]),
        );
        let (Ok(reg_id), Ok(record), Ok(signature), Ok(subject)) = parsed else {
            return Ok(malformed("confirm"));
        };
        let Ok(acknowledgements) =
            c.acknowledgements.iter().map(RegionSignature::try_from).collect::<Result<Vec<_>, _>>()
        else {
            return Ok(malformed("acknowledgements"));
        };
        let command = Confirm { account: id, reg_id, record, acknowledgements, signature, subject };
        let committed: Committed = self.propose(Command::Confirm(command), deadline).await?;
        self.starts.remove(&reg_id);
        self.done(ReceiptKind::Registered, &c.reg_id, &committed)
    }
}
