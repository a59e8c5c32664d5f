//! The leader's signature on each append that carries entries. Two of them that do not fit one log prove that the leader has sent two histories (`bkv_wire::equivocation`).
//! An append without entries carries none, so heartbeats cost nothing.

use std::collections::HashMap;
use std::sync::Arc;

use bkv_core::document::Admission;
use bkv_core::id::{NodeId, PublicKey};
use bkv_wire::boot;
use bkv_wire::equivocation::{Signed, Unproven, key_of};
use bkv_wire::proto::peer as p;
use bytes::Bytes;
use parking_lot::Mutex;

use super::log::Log;
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

    /// The signature on the log up to this entry. None without a boot key or an admission list, or if this vault leads no longer under this vote.
    pub(super) fn appended(&self, shard: u16, log: &Log, vote: &Vote, last: &LogId) -> Option<p::Appended> {
        let chain = log.chain_at(last).ok().flatten()?;
        // Compare the vote after reading the chain hash. The log saves a later vote before it removes entries, so the chain hash is of this leader's own history. Otherwise a
        // rooted vault could depose this one, replace an entry that is being sent by another with the same id, and have both signed under one vote.
        if log.vote().is_some_and(|saved| saved.leader_id > vote.leader_id) {
            return None;
        }
        let signed = Signed { vote: ballot(Some(vote)), index: last.index, chain };
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

#[cfg(test)]
mod tests {
    use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _};
    use openraft::{CommittedLeaderId, EntryPayload};

    use super::*;
    use crate::env::OsRandom;
    use crate::raft::types::{Entry, Payload};
    use crate::store::store_test::TestKeys;
    use crate::store::{DataKeys, Store};
    use crate::test_list::list;

    fn entry(payload: EntryPayload<crate::raft::types::TypeConfig>) -> Entry {
        Entry { log_id: LogId::new(CommittedLeaderId::new(5, 1), 0), payload }
    }

    /// S48: a rooted vault deposes the leader while an append is under way, and replaces its entry by another with the same id. The append must not be signed with that history.
    #[tokio::test]
    async fn s48_a_deposed_leader_signs_nothing_under_its_vote() {
        let dir = tempfile::tempdir().unwrap();
        let keys: Arc<dyn DataKeys> = Arc::new(TestKeys([1; 32]));
        let mut log = Log::open(3, Store::open(dir.path(), &keys, &OsRandom).unwrap()).unwrap();
        let admitted = Admitted::default();
        admitted.set(Arc::new(list(0)));
        let signer = Signer::new(admitted, Arc::new(|_| Some((Bytes::new(), Bytes::new()))));
        let (own, later) = (Vote::new_committed(5, 1), Vote::new_committed(6, 2));
        log.save_vote(&own).await.unwrap();
        let first = entry(EntryPayload::Blank);
        let id = first.log_id;
        log.blocking_append([first]).await.unwrap();
        assert!(signer.appended(3, &log, &own, &id).is_some());

        log.save_vote(&later).await.unwrap();
        log.truncate(id).await.unwrap();
        log.blocking_append([entry(EntryPayload::Normal(Payload(Bytes::from_static(b"another"))))])
            .await
            .unwrap();
        assert_eq!(signer.appended(3, &log, &own, &id), None);
    }
}
