//! The leader's signature on each append that carries entries. Two of them that do not fit one log prove that the leader has sent two histories (`bkv_wire::equivocation`).
//! An append without entries carries none, so heartbeats cost nothing.

use std::collections::HashMap;
use std::sync::Arc;

use bkv_core::document::Admission;
use bkv_core::id::{Hash, NodeId, PublicKey};
use bkv_wire::boot;
use bkv_wire::equivocation::{Signed, Unproven, key_of};
use bkv_wire::proto::peer as p;
use bytes::Bytes;
use parking_lot::Mutex;

use super::types::{LogId, Vote, ballot, vote_out};
use crate::peer::Admitted;

/// Signs with the vault's boot key: (certificate, signature). None before there is one.
pub(crate) type Sign = Arc<dyn Fn(&[u8]) -> Option<(Bytes, Bytes)> + Send + Sync>;

/// Signs what this vault sends as a leader. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Signer {
    admitted: Admitted,
    sign: Sign,
    /// The newest signature of each shard. The followers mostly get the same entries, and then share it.
    newest: Arc<Mutex<HashMap<u16, p::Appended>>>,
}

impl Signer {
    pub(crate) fn new(admitted: Admitted, sign: Sign) -> Self {
        Self { admitted, sign, newest: Arc::default() }
    }

    /// The signature on the log up to this entry. None without a boot key or an admission list.
    pub(super) fn appended(
        &self,
        shard: u16,
        vote: &Vote,
        last: &LogId,
        chain: &Hash,
    ) -> Option<p::Appended> {
        let signed = Signed { vote: ballot(Some(vote)), index: last.index, chain: *chain };
        let newest = self.newest.lock().get(&shard).cloned();
        if let Some(newest) = newest.filter(|n| Signed::read(n).is_ok_and(|n| n == signed)) {
            return Some(newest);
        }
        let list = self.admitted.get()?;
        let (certificate, signature) = (self.sign)(&signed.statement(&list, shard))?;
        let chain = chain.0.to_vec().into();
        let vote = Some(vote_out(vote));
        let appended = p::Appended { vote, index: last.index, chain, certificate, signature };
        self.newest.lock().insert(shard, appended.clone());
        Some(appended)
    }
}

/// A boot key whose certificate has been checked.
struct Known {
    certificate: Bytes,
    /// Number of the list under which it was checked.
    list: u64,
    key: PublicKey,
}

/// Checks leaders' signatures. Each certificate is checked once.
#[derive(Default)]
pub(crate) struct Signatures(Mutex<HashMap<NodeId, Known>>);

impl Signatures {
    /// Checks that the leader has signed its log up to `index` with this chain hash. Returns a copy of the signature, whose bytes do not share the frame of the message.
    pub(crate) fn check(
        &self,
        list: &Admission,
        shard: u16,
        signed: Signed,
        given: Option<&p::Appended>,
    ) -> Result<p::Appended, Unproven> {
        let given = given.ok_or(Unproven::Malformed)?;
        if given.certificate.len() > boot::MAX_CERTIFICATE || Signed::read(given)? != signed {
            return Err(Unproven::Malformed);
        }
        let (key, certificate) = self.key(list, signed.vote.node, &given.certificate)?;
        signed.check(list, shard, &key, &given.signature)?;
        let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        Ok(p::Appended {
            chain: copy(&given.chain),
            signature: copy(&given.signature),
            certificate,
            ..given.clone()
        })
    }

    fn key(
        &self,
        list: &Admission,
        leader: NodeId,
        certificate: &Bytes,
    ) -> Result<(PublicKey, Bytes), Unproven> {
        if let Some(k) =
            self.0.lock().get(&leader).filter(|k| k.list == list.number && k.certificate == certificate)
        {
            return Ok((k.key, k.certificate.clone()));
        }
        let key = key_of(certificate, list, leader)?;
        let certificate = Bytes::copy_from_slice(certificate);
        let known = Known { certificate: certificate.clone(), list: list.number, key };
        self.0.lock().insert(leader, known);
        Ok((key, certificate))
    }
}
