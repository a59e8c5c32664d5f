//! Raises the version of the state of the shards that this vault leads, once every region has signed that its program can apply the next one. So while one region runs an older program, each
//! of the others may go back to it, too.

use bkv_core::command::Raise;
use bkv_core::document::{Admission, Member};
use bkv_core::id::{NodeId, Signature, Slot, Time};
use bkv_core::outcome::Outcome;
use bkv_core::signature::RegionSignature;
use bkv_core::statement;
use bkv_crypto::ed25519;
use bkv_wire::boot::{self, BootError};
use bkv_wire::proto::peer as p;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Vault;
use crate::replica::Replica;

/// For how long a certificate must be valid from now on.
const SPARE_MS: u64 = 60_000;

/// Why a region has not signed for a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsigned {
    #[error("it does not answer")]
    Silent,
    #[error("its program can apply versions {0} to {1}: update it")]
    Program(u32, u32),
    #[error("its answer has no signature: it may have no boot key yet")]
    Missing,
    #[error("{0}: compare its clock and its admission list with those of this vault")]
    Certificate(#[from] BootError),
    #[error("its signature does not hold")]
    Signature,
    #[error("the replicas refuse the raise: the admission list or a certificate has changed meanwhile")]
    Refused,
}

/// The version that waits, and the regions that have not signed for it.
pub(crate) type Waiting = Option<(u32, Vec<(NodeId, Unsigned)>)>;

impl Vault {
    /// The next version of a shard that this vault leads. 0 if there is none that its program can apply.
    pub(crate) fn next_version(&self) -> u32 {
        let led = self.node.replicas().iter().filter(|r| r.status().borrow().lead);
        let next = led.filter_map(|r| r.state().version()?.checked_add(1)).min();
        next.filter(|v| self.node.versions().contains(*v)).unwrap_or(0)
    }

    /// This region's signature that its program can apply a version. None if it can't, or before there is a boot key.
    pub fn applies(&self, version: u32) -> Option<RegionSignature> {
        let (slot, root) = (self.slot()?, self.root());
        let statement = statement::applies(&root.lineage(), root.era, slot, version);
        let (certificate, signature) =
            self.node.versions().contains(version).then(|| self.sign(&statement))??;
        signature_of(slot, &certificate, &signature)
    }

    /// Raises the shards that this vault leads to this version if every region has signed. `answers` are those of the other members that have answered.
    pub(crate) async fn raise(
        &self,
        version: u32,
        list: &Admission,
        answers: &[(NodeId, &p::ClockAnswer)],
        deadline: Instant,
    ) {
        if version == 0 {
            *self.raise_waits.lock() = None;
            return;
        }
        let (mut signatures, mut waits) = (Vec::new(), Vec::new());
        for member in &list.members {
            let answer = answers.iter().find(|(node, _)| *node == member.node).map(|(_, a)| *a);
            let signed = match answer {
                _ if member.node == self.node.node() => self.applies(version).ok_or(Unsigned::Missing),
                Some(answer) => self.signed(version, list, member, answer),
                None => Err(Unsigned::Silent),
            };
            match signed {
                Ok(signature) => signatures.push(signature),
                Err(why) => waits.push((member.node, why)),
            }
        }
        let complete = waits.is_empty();
        *self.raise_waits.lock() = (!complete).then_some((version, waits));
        if !complete {
            return;
        }
        let next = |r: &&Replica| r.state().version().and_then(|v| v.checked_add(1)) == Some(version);
        // All at once: one that is not committed in time delays no other.
        join_all(self.node.replicas().iter().filter(next).map(|replica| async {
            let raise = Raise { version, signatures: signatures.clone() };
            let shard = replica.shard().0;
            match replica.raise(raise, deadline).await {
                Ok(Outcome::Done) => tracing::info!(shard, version, "the version of the state is raised"),
                Ok(outcome) => {
                    tracing::warn!(shard, version, ?outcome, "the raise of the version is refused");
                    let refused = vec![(self.node.node(), Unsigned::Refused)];
                    *self.raise_waits.lock() = Some((version, refused));
                }
                Err(_) => {}
            }
        }))
        .await;
    }

    /// A member's signature, checked as the replicas will check it.
    fn signed(
        &self,
        version: u32,
        list: &Admission,
        member: &Member,
        answer: &p::ClockAnswer,
    ) -> Result<RegionSignature, Unsigned> {
        if version > answer.newest || version < answer.oldest {
            return Err(Unsigned::Program(answer.oldest, answer.newest));
        }
        let signed = signature_of(member.slot, &answer.certificate, &answer.signature);
        let signed = signed.ok_or(Unsigned::Missing)?;
        // It must still be valid when the entry is applied.
        let now = self.now_ms();
        boot::verify(&signed.certificate, list, Time(now.saturating_add(SPARE_MS)))?;
        let key = boot::verify(&signed.certificate, list, Time(now))?;
        let statement = statement::applies(&list.lineage, list.era, member.slot, version);
        let holds = key.slot == member.slot && ed25519::verify(&key.key.0, &statement, &signed.signature.0);
        holds.then_some(signed).ok_or(Unsigned::Signature)
    }

    /// The version that waits for regions, with the reason of each.
    pub fn raise_waits(&self) -> Option<(u32, Vec<(NodeId, String)>)> {
        let (version, regions) = self.raise_waits.lock().clone()?;
        Some((version, regions.iter().map(|(node, why)| (*node, why.to_string())).collect()))
    }
}

/// None if it has no signature.
fn signature_of(slot: Slot, certificate: &[u8], signature: &[u8]) -> Option<RegionSignature> {
    let signature = Signature::try_from(signature).ok()?;
    Some(RegionSignature { slot, certificate: certificate.to_vec(), signature })
}
