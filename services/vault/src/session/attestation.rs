//! Attestations: what the regions sign about the account's state.

use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::peer;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::Session;
use super::region::{Contribution, contribution, encoded};
use super::reply::no;
use crate::peer::Body;
use crate::replica::ProposeError;
use crate::service::REGIONS;

/// Whose attestations a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Regions {
    /// No region's.
    None,
    /// Those of the first t regions that sign the same. A region that hangs delays nobody.
    Threshold,
    /// Those of every region that answers in time.
    All,
}

impl Regions {
    pub(super) const fn new(attest: bool, all: bool) -> Self {
        match (attest, all) {
            (false, _) => Self::None,
            (true, false) => Self::Threshold,
            (true, true) => Self::All,
        }
    }
}

impl Session {
    /// The attestations of these regions.
    pub(super) async fn attest(
        &self,
        nonce: &[u8],
        regions: Regions,
        deadline: Instant,
    ) -> Result<Result<p::Attestations, Answer>, ProposeError> {
        let Ok(nonce) = <[u8; 32]>::try_from(nonce) else {
            return Ok(Err(no(Code::Malformed, "a nonce has 32 bytes")));
        };
        let answers = match regions {
            Regions::None => Vec::new(),
            Regions::Threshold | Regions::All => self.newest(nonce, regions, deadline).await?,
        };
        let (mut regions, mut missing) = (Vec::new(), Vec::new());
        for answer in answers {
            match answer {
                Ok(attestation) => regions.push(attestation),
                Err(region) => missing.push(region),
            }
        }
        self.remember_refusals(&missing);
        Ok(Ok(p::Attestations { regions, missing }))
    }

    /// This region's own attestation, or why it has none.
    fn own(&self, nonce: [u8; 32]) -> Result<Contribution<p::Attestation>, ProposeError> {
        let (_, replica, _) = self.known()?;
        let slot = self.vault.slot().map_or(0, |s| s.0);
        Ok(self.vault.attest(&replica, self.person()?.0, nonce).map_err(|e| e.missing(slot)))
    }

    /// Attestations that show the newest state: a leader that was deposed without noticing finds out here. It asks the other regions while it confirms its leadership, which
    /// saves a round trip. If the account has changed meanwhile, it asks them again.
    async fn newest(
        &self,
        nonce: [u8; 32],
        regions: Regions,
        deadline: Instant,
    ) -> Result<Vec<Contribution<p::Attestation>>, ProposeError> {
        let (_, replica, _) = self.known()?;
        let (applied, before) = (replica.applied(), self.own(nonce)?);
        let asked = self.gather(nonce, applied, before.clone(), regions, deadline);
        let answers = if_confirmed(replica.confirm_leadership(deadline), asked).await?;
        let after = self.own(nonce)?;
        match (&before, &after) {
            (Ok(before), Ok(after)) if state(before) == state(after) => Ok(answers),
            _ => self.gather(nonce, replica.applied(), after, regions, deadline).await,
        }
    }

    /// This region's attestation, and those of the others once they have applied the log up to an index.
    async fn gather(
        &self,
        nonce: [u8; 32],
        committed: u64,
        own: Contribution<p::Attestation>,
        regions: Regions,
        deadline: Instant,
    ) -> Result<Vec<Contribution<p::Attestation>>, ProposeError> {
        let ((id, replica, fleet), (_, shown)) = (self.known()?, self.person()?);
        let threshold = usize::from(fleet.documents.admission.threshold);
        let enough = |answers: &[Contribution<p::Attestation>]| {
            regions == Regions::Threshold && agree(answers, threshold)
        };
        let body = peer::Attest {
            shard: u32::from(replica.shard().0),
            account: id.0.to_vec().into(),
            nonce: nonce.to_vec().into(),
            committed,
            token: shown.token.to_string(),
            session: shown.nonce.to_vec().into(),
            channel: shown.channel.to_vec().into(),
            proof: encoded(shown.proof.as_ref()),
        };
        let me = self.vault.node().node();
        let until = deadline.min(self.vault.node().peers().deadline(REGIONS / 2, 2));
        let others = fleet.documents.admission.members.iter().filter(|m| m.node != me);
        let mut asked: FuturesUnordered<_> = FuturesUnordered::new();
        asked.extend(others.map(|m| {
            let call = self.vault.node().peers().call(m.node, Body::Attest(body.clone()), until);
            async move {
                contribution(m.slot.0, call.await, |body| match body {
                    Body::Attested(a) => Some((a.attestation, a.missing)),
                    _ => None,
                })
            }
        }));
        let mut answers = vec![own];
        while !enough(&answers)
            && let Some(answer) = asked.next().await
        {
            answers.push(answer);
        }
        Ok(answers)
    }
}

/// The answers, if this vault leads. If it does not, it refuses at once: the client goes to the leader and waits for no slow region here.
async fn if_confirmed<T>(
    confirm: impl Future<Output = Result<(), ProposeError>>,
    answers: impl Future<Output = Result<T, ProposeError>>,
) -> Result<T, ProposeError> {
    let ((), answers) = tokio::try_join!(confirm, answers)?;
    Ok(answers)
}

/// True if `threshold` regions attest the same. The leader does not check signatures: the client does, and asks for the other regions if one does not hold.
fn agree(answers: &[Contribution<p::Attestation>], threshold: usize) -> bool {
    let states: Vec<_> = answers.iter().flatten().map(state).collect();
    states.iter().any(|a| states.iter().filter(|b| *b == a).count() >= threshold)
}

/// What regions must agree on: everything except slot, log index, clock and signature.
fn state(a: &p::Attestation) -> p::Attestation {
    p::Attestation {
        slot: 0,
        index: 0,
        time_ms: 0,
        certificate: bytes::Bytes::new(),
        signature: bytes::Bytes::new(),
        ..a.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::unnecessary_wraps)] // a list of contributions also holds missing regions
    fn says(slot: u32, ordinal: u64) -> Contribution<p::Attestation> {
        let own = bytes::Bytes::from(vec![0xff; 4]);
        let (certificate, signature) = (own.clone(), own);
        let (index, time_ms) = (u64::from(slot), u64::from(slot));
        Ok(p::Attestation { slot, ordinal, index, time_ms, certificate, signature, ..Default::default() })
    }

    #[test]
    fn t_equal_states_are_enough_and_t_answers_are_not() {
        let away = || Err(p::MissingRegion::default());
        assert!(!agree(&[says(1, 4), away()], 2));
        assert!(!agree(&[says(1, 4), says(2, 3)], 2), "a region that lags or lies");
        assert!(agree(&[says(1, 4), says(2, 3), says(3, 4)], 2));
        assert!(!agree(&[says(1, 4), says(2, 4)], 3));
        assert!(agree(&[says(1, 4)], 1));
    }

    #[tokio::test]
    async fn a_vault_that_no_longer_leads_waits_for_no_region() {
        let deposed = async { Err(ProposeError::NotLeader(None)) };
        let hangs = std::future::pending::<Result<(), _>>();
        assert_eq!(if_confirmed(deposed, hangs).await, Err(ProposeError::NotLeader(None)));
    }
}
