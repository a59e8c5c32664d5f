//! Which snapshots a replica installs: the rules of the vault's `replica/snapshot.rs` and `raft/stage.rs`.

use std::collections::BTreeMap;
use std::rc::Rc;

use bkv_core::account::Account;
use bkv_core::checkpoint::{Certificate, Lists};
use bkv_core::digest::{Digest, RowNumbers};
use bkv_core::id::{AccountId, NodeId, RegId, Time};
use bkv_core::join::LogPosition;
use bkv_core::record::{SealedShare, shares_hash_of};
use bkv_core::shard::{Fleet, Shard};
use bkv_core::snapshot::{judge, judge_documents, judge_head};

use super::super::fake::Fake;
use super::super::machine::Memory;
use super::append::in_time;
use super::fault::{Fault, is_back};
use super::log::Place;
use super::replica::{Happened, Reached, Replica};
use super::secrets::{Kept, Row, registrations};
use super::speak::fits;

pub(super) struct Snapshot {
    pub(super) fleet: Fleet,
    pub(super) certificate: Certificate,
    pub(super) rows: Vec<Row>,
}

type Staged = (Memory, BTreeMap<(AccountId, RegId), Kept>);

impl Replica {
    /// True if it was installed, false if it has nothing new.
    pub(super) fn receive(
        &mut self,
        from: NodeId,
        term: u64,
        s: &Snapshot,
        now: Time,
    ) -> Result<bool, String> {
        if !self.follows(from, term) {
            return Err("a newer vote, or joining".into());
        }
        let c = &s.certificate.checkpoint;
        if c.shard != self.number || !in_time(c.time, now) {
            return Err("another shard, or from the future".into());
        }
        if c.index <= self.applied.at.index {
            return Ok(false);
        }
        judge_documents(&s.fleet, &Fake).map_err(|e| e.to_string())?;
        let theirs = Shard { fleet: Some(s.fleet.clone()), time: c.time, unconfirmed: 0 };
        judge_head(self.number, &self.shard, &theirs).map_err(|e| e.to_string())?;
        let list = &s.fleet.documents.admission;
        s.certificate.check(Lists::new(list, list), Some(self.me), &Fake).map_err(|e| e.to_string())?;
        let (memory, secrets) = self.stage(s)?;
        let reached =
            Reached { checkpoint: c.clone(), fleet: Rc::new(s.fleet.clone()), rows: Rc::new(s.rows.clone()) };
        let unconfirmed = memory.0.values().filter(|a| a.is_unconfirmed()).count();
        self.shard = Shard { unconfirmed: u32::try_from(unconfirmed).unwrap(), ..theirs };
        for (account, before) in std::mem::replace(&mut self.memory, memory).0 {
            if let Some(reg_id) = before.live.map(|l| l.record.reg_id)
                && self.live(&account) != Some(reg_id)
            {
                self.happened.push(Happened::Erased { account, reg_id });
            }
        }
        self.secrets = secrets;
        let at = LogPosition { term: c.term, index: c.index };
        self.applied = Place { at, leader: c.leader, chain: c.chain };
        self.log.restart_at(self.applied);
        self.installed = Some((c.index, now));
        (self.certified, self.leads) = (Some((s.certificate.clone(), reached)), None);
        self.reached.clear();
        self.claims.clear();
        for row in &s.rows {
            self.has_succeeded(&row.id);
        }
        self.caught_up();
        Ok(true)
    }

    /// The second line, account by account, and the digest.
    fn stage(&self, snapshot: &Snapshot) -> Result<Staged, String> {
        let c = &snapshot.certificate.checkpoint;
        let (mut memory, mut secrets, mut digest) = (Memory::default(), BTreeMap::new(), Digest::default());
        for row in &snapshot.rows {
            if digest.rows() >= c.rows && !is_back(Fault::OtherRows) {
                return Err("more rows than were signed".into());
            }
            let here = self.memory.0.get(&row.id);
            judge(&snapshot.fleet, &row.id, here, Some(&row.account), &Fake).map_err(|e| e.to_string())?;
            for (record, hash, shares) in registrations(&row.account) {
                let Some(given) = row.secrets.iter().find(|g| g.reg_id == record.reg_id) else {
                    if is_back(Fault::NoSecrets) {
                        continue;
                    }
                    return Err("without the secrets of a registration".into());
                };
                let kept = &given.kept;
                let named = |share: &SealedShare| {
                    kept.hashes.get(usize::from(share.slot.0).wrapping_sub(1)) == Some(&share.hash())
                };
                if kept.hashes.len() != usize::from(record.slots)
                    || shares_hash_of(&kept.hashes) != *shares
                    || !kept.shares.iter().all(named)
                {
                    return Err("other shares than the account names".into());
                }
                if !fits(kept, record) {
                    return Err("a z that is not the record's".into());
                }
                let place = (row.id, record.reg_id);
                let has =
                    |a: &Account| registrations(a).any(|(r, h, _)| (r.reg_id, h) == (record.reg_id, hash));
                let own = here.is_some_and(has).then(|| self.secrets.get(&place)).flatten();
                let mine = kept.shares.iter().any(|share| share.slot == self.me);
                if own.is_none() && !mine && !is_back(Fault::NoSecrets) {
                    return Err("without this region's share".into());
                }
                secrets.insert(place, own.unwrap_or(kept).clone());
            }
            digest.add(&RowNumbers::of(&row.id, &row.account));
            if memory.0.insert(row.id, row.account.clone()).is_some() {
                return Err("an account twice".into());
            }
        }
        let signed =
            digest.rows() == c.rows && digest.of_state(self.number, &snapshot.fleet, &[]) == c.digest;
        if !signed && !is_back(Fault::OtherRows) {
            return Err("another digest than was signed".into());
        }
        let missing = |id, a: &Account| !a.is_unconfirmed() && !memory.0.contains_key(id);
        if self.memory.0.iter().any(|(id, a)| missing(id, a)) {
            return Err("an account is missing".into());
        }
        Ok((memory, secrets))
    }
}
