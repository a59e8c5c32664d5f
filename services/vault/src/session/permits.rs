//! Permits of t regions. A Begin needs them if it would leave no try, and if it has the id of an open last try.

use bkv_core::account::Account;
use bkv_core::command::Begin;
use bkv_core::id::{Slot, Time};
use bkv_core::signature::RegionSignature;
use bkv_core::verify::Verifier as _;
use bkv_wire::proto::inner as p;
use bkv_wire::proto::peer;
use bkv_wire::verifier::WireVerifier;
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::Session;
use super::region::{Contribution, contribution, encoded};
use crate::peer::Body;
use crate::replica::ProposeError;
use crate::service::{LastTry, REGIONS};

/// How long the certificate of a permit must still be valid, in milliseconds. Longer than a request may take.
const OUTLASTS: u64 = 30_000;

/// What the regions answered.
#[derive(Default)]
pub(super) struct Permits {
    pub(super) good: Vec<RegionSignature>,
    pub(super) missing: Vec<p::MissingRegion>,
}

/// True if the leader must gather permits before it proposes this Begin. If the Begin will be refused anyway, the log says why.
pub(super) fn needed(account: &Account, begin: &Begin, now_ms: u64) -> bool {
    match &account.pending {
        Some(p) if p.attempt == begin.attempt => p.last && !p.is_spent(),
        Some(p) if p.last => false,
        _ => begin.may_be_last && account.tries_left() == 1 && account.next_allowed.0 <= now_ms,
    }
}

impl Session {
    /// Asks all regions at once and takes the first t permits.
    pub(super) async fn permits(
        &self,
        begin: &Begin,
        proof: Option<&p::Proof>,
        deadline: Instant,
    ) -> Result<Permits, ProposeError> {
        let (id, replica, fleet) = self.known()?;
        let (asker, shown) = (self.asker(proof)?, self.person()?.1);
        let admission = &fleet.documents.admission;
        let (want, me) = (usize::from(admission.threshold), self.vault.node().node());
        let until = deadline.min(self.vault.node().peers().deadline(REGIONS, 2));
        let index = replica.applied();
        let last = LastTry {
            generation: begin.generation,
            ordinal: begin.ordinal,
            attempt: begin.attempt,
            blinded: begin.blinded,
            cancel: begin.cancel,
            may_be_last: begin.may_be_last,
        };
        let call = peer::Permit {
            shard: u32::from(replica.shard().0),
            account: id.0.to_vec().into(),
            attempt: last.attempt.0.to_vec().into(),
            committed: index,
            token: shown.token.to_string(),
            nonce: shown.nonce.to_vec().into(),
            generation: last.generation.0,
            ordinal: last.ordinal.0,
            blinded: last.blinded.0.to_vec().into(),
            cancel: last.cancel.0.to_vec().into(),
            proof: encoded(proof),
            may_be_last: last.may_be_last,
        };
        let own_slot = self.vault.slot().map_or(0, |s| s.0);
        let own = self.vault.permit(&replica, asker, &last, index, until);
        let mut running: FuturesUnordered<BoxFuture<'_, (u8, Contribution<p::Permit>)>> =
            FuturesUnordered::new();
        running.push(own.map(move |own| (own_slot, own.map_err(|e| e.missing(own_slot)))).boxed());
        for m in admission.members.iter().filter(|m| m.node != me) {
            let slot = m.slot.0;
            let asked = self.vault.node().peers().call(m.node, Body::Permit(call.clone()), until);
            running.push(asked.map(move |answer| (slot, contribution(slot, answer, permitted))).boxed());
        }
        // The state machine judges a permit at the entry's time, which comes later. A permit that ends before then is left out here, so that a rooted
        // region can't take the place of an honest one with it.
        let verifier = WireVerifier::new(self.vault.root().clone());
        let statement = last.statement(&fleet, &id);
        let now = self.vault.now_ms();
        let holds = |s: &RegionSignature| {
            [now, now.saturating_add(OUTLASTS)]
                .iter()
                .all(|at| verifier.region_signature(admission, s, &statement, Time(*at)))
        };
        let mut permits = Permits::default();
        while let Some((slot, answer)) = running.next().await {
            match answer {
                Ok(permit) => permits.good.extend(
                    RegionSignature::try_from(&permit).ok().filter(|s| s.slot == Slot(slot) && holds(s)),
                ),
                Err(region) => permits.missing.push(region),
            }
            if permits.good.len() >= want {
                break;
            }
        }
        self.remember_refusals(&permits.missing);
        Ok(permits)
    }
}

fn permitted(body: Body) -> Option<(bytes::Bytes, bytes::Bytes)> {
    match body {
        Body::Permitted(p) => Some((p.permit, p.missing)),
        _ => None,
    }
}
