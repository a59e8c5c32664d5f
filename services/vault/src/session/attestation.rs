//! Attestations: what the regions sign about the account's state.

use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::peer;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Session;
use super::region::contribution;
use super::reply::no;
use crate::peer::Body;
use crate::replica::ProposeError;
use crate::service::REGIONS;

impl Session {
    /// The leader's attestation, and with `all` that of every region that answers in time.
    pub(super) async fn attest(
        &self,
        nonce: &[u8],
        all: bool,
        deadline: Instant,
    ) -> Result<Result<p::Attestations, Answer>, ProposeError> {
        let Ok(nonce) = <[u8; 32]>::try_from(nonce) else {
            return Ok(Err(no(Code::Malformed, "a nonce has 32 bytes")));
        };
        let (id, replica, fleet) = self.known()?;
        let (person, shown) = self.person()?;
        if all {
            // An attestation must show the newest state: a leader that was deposed without noticing finds out here.
            replica.confirm_leadership(deadline).await?;
        }
        let own_slot = self.vault.slot().map_or(0, |s| s.0);
        let mut answers = vec![self.vault.attest(&replica, person, nonce).map_err(|e| e.missing(own_slot))];
        if all {
            let body = peer::Attest {
                shard: u32::from(replica.shard().0),
                account: id.0.to_vec().into(),
                nonce: nonce.to_vec().into(),
                committed: replica.applied(),
                token: shown.token.to_string(),
            };
            let me = self.vault.node().node();
            let until = deadline.min(Instant::now() + REGIONS / 2);
            let others = fleet.documents.admission.members.iter().filter(|m| m.node != me);
            let asked = others.map(|m| {
                let call = self.vault.node().peers().call(m.node, Body::Attest(body.clone()), until);
                async move {
                    contribution(m.slot.0, call.await, |body| match body {
                        Body::Attested(a) => Some((a.attestation, a.missing)),
                        _ => None,
                    })
                }
            });
            answers.extend(join_all(asked).await);
        }
        let (mut regions, mut missing) = (Vec::new(), Vec::new());
        for answer in answers {
            match answer {
                Ok(attestation) => regions.push(attestation),
                Err(region) => missing.push(region),
            }
        }
        Ok(Ok(p::Attestations { regions, missing }))
    }
}
