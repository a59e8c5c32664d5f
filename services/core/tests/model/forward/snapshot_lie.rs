//! Snapshots that the liar makes up: rows moved forward, copied, left out, with every certificate that it can put together.

use bkv_core::account::{Account, Cause, Ended, Live, Pending, Success};
use bkv_core::checkpoint::Certificate;
use bkv_core::command::Command;
use bkv_core::digest::{Digest, RowNumbers};
use bkv_core::id::{Generation, Hash, Ordinal, RegId, Signature, Slot, Time, WriterId};
use bkv_core::record::{shares_hash, shares_hash_of};
use bkv_core::secret::Secret32;
use bkv_core::signature::RegionSignature;
use bkv_core::statement;
use bkv_core::writers::{LedgerName, Writer};

use super::super::fake::signed_by;
use super::super::machine::account;
use super::honest::liar;
use super::install::Snapshot;
use super::liar::{Liar, Seen};
use super::person::{attempt_id, element, registration, unique};
use super::secrets::{Kept, Row, RowSecrets};
use super::world::World;

/// What is wrong with one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowLie {
    /// The last try is open, begun by the liar.
    Last,
    /// The waits never end.
    Wait,
    /// A ledger that no owner signed.
    Ledger,
    /// Another z.
    OtherZ,
    /// Without secrets, or without the receiver's share.
    NoSecrets,
    NoShare,
    /// The account is missing.
    Missing,
    /// A person's row of another shard, with all its tries.
    Foreign,
    /// The row of an older checkpoint.
    Old,
    /// The key is gone.
    Ended,
    /// Lifetime failures at the limit.
    Locked,
    /// A success that nobody proved.
    Success,
    /// All tries are back.
    Refilled,
    /// The open attempt is the liar's.
    OtherAttempt,
    /// The row twice.
    Twice,
    /// A key of the liar's own, of the same or the next generation.
    OtherKey(u8),
}

/// What stands below the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signatures {
    /// Those that honest regions have given, and the liar's.
    Genuine,
    /// The digest of these rows, signed by the liar alone, twice.
    OwnTwice,
    /// The digest of these rows, under honest signatures of another.
    Pasted,
    /// The digest of these rows, signed by the liar in the name of all.
    InTheNameOfAll,
    /// Genuine, of another index.
    OtherIndex,
}

impl World {
    /// Sends a snapshot to one honest replica.
    pub(super) fn liar_sends_snapshot(
        &mut self,
        to: usize,
        shard: u16,
        pick: u8,
        lies: &[(RowLie, u8)],
        signatures: Signatures,
    ) -> String {
        let of_shard: Vec<&Seen> =
            self.liar.seen.iter().filter(|s| s.reached.checkpoint.shard == shard).collect();
        // Mostly the newest ones: the receiver has no use for an older one than its own state.
        let Some(seen) = of_shard.len().checked_sub(1 + usize::from(pick)).map(|i| of_shard[i].clone())
        else {
            return "no checkpoint was seen".into();
        };
        let mut rows = seen.reached.rows.as_ref().clone();
        self.complete(&mut rows);
        for (lie, who) in lies {
            self.lies(*lie, *who, to, shard, &mut rows);
        }
        let fleet = seen.reached.fleet.as_ref().clone();
        let mut checkpoint = seen.reached.checkpoint.clone();
        let digests_the_rows = !matches!(signatures, Signatures::Genuine | Signatures::OtherIndex);
        if digests_the_rows {
            let mut digest = Digest::default();
            for r in &rows {
                digest.add(&RowNumbers::of(&r.id, &r.account));
            }
            (checkpoint.rows, checkpoint.digest) = (digest.rows(), digest.of_state(shard, &fleet, &[]));
        }
        if signatures != Signatures::Genuine {
            checkpoint.index = self.honest.replica(to, shard).applied.at.index + 1;
            checkpoint.time = checkpoint.time.max(self.honest.replica(to, shard).shard.time);
        }
        let own = signed_by(Liar::SLOT, &statement::checkpoint(&checkpoint, Liar::SLOT));
        let named = |slot: u8| RegionSignature { slot: Slot(slot), ..own.clone() };
        let given = match signatures {
            Signatures::Genuine | Signatures::OtherIndex | Signatures::Pasted => {
                seen.signatures.iter().cloned().chain([own.clone()]).collect()
            }
            Signatures::OwnTwice => vec![own.clone(), own.clone()],
            Signatures::InTheNameOfAll => (1..=3).map(named).collect(),
        };
        let certificate = Certificate { checkpoint, signatures: given };
        let term = self.liar_term(&[to], shard);
        let snapshot = Snapshot { fleet, certificate, rows };
        let now = self.now;
        match self.honest.replica_mut(to, shard).receive(liar(), term, &snapshot, now) {
            Ok(true) => "installed".into(),
            Ok(false) => "nothing new".into(),
            Err(why) => format!("refused: {why}"),
        }
    }

    /// The shares that the liar keeps from the log, for rows that lack them.
    fn complete(&self, rows: &mut [Row]) {
        for row in rows {
            for s in &mut row.secrets {
                let hash = shares_hash_of(&s.kept.hashes);
                let shares = self.liar.commands.iter().find_map(|c| match c {
                    Command::Store(store)
                        if store.record.reg_id == s.reg_id && shares_hash(&store.shares) == hash =>
                    {
                        Some(store.shares.clone())
                    }
                    _ => None,
                });
                if let Some(shares) = shares {
                    s.kept.shares = shares;
                }
            }
        }
    }

    fn lies(&mut self, lie: RowLie, who: u8, to: usize, shard: u16, rows: &mut Vec<Row>) {
        let id = account(who);
        let number = self.fresh();
        if lie == RowLie::Foreign {
            rows.extend(self.foreign(who, shard));
            return;
        }
        let Some(i) = rows.iter().position(|r| r.id == id) else { return };
        let old = || {
            let all = self.liar.seen.iter().flat_map(|s| s.reached.rows.iter());
            all.filter(|r| r.id == id && r.account.live.is_some()).min_by_key(|r| r.account.changed).cloned()
        };
        let row = &mut rows[i];
        let a = &mut row.account;
        let max = a.live.as_ref().map_or(0, |l| l.record.attempts.max);
        let limit = a.live.as_ref().map_or(0, |l| l.record.attempts.lifetime_failures);
        let pending = |ordinal: Ordinal, last: bool, before: Ordinal| Pending {
            attempt: attempt_id(number),
            ordinal,
            blinded: element(number),
            cancel: statement::cancel_hash(&unique("model/cancel", number)),
            seed: Secret32::new([9; 32]),
            deadline: Time(0),
            last,
            index: 0,
            success_before: before,
            conflicts: 0,
        };
        match lie {
            RowLie::Last if a.live.is_some() => {
                let begun = a.success_ordinal().0 + u64::from(max) - a.ordinal.0;
                a.ordinal = Ordinal(a.success_ordinal().0 + u64::from(max));
                a.lifetime_failures += u32::try_from(begun).unwrap();
                let p = pending(a.ordinal, true, a.success_ordinal());
                self.liar.cancels.insert(p.attempt, unique("model/cancel", number));
                a.pending = Some(p);
            }
            RowLie::Wait => a.next_allowed = Time(u64::MAX),
            RowLie::Ledger if a.live.is_some() => {
                let ledger = LedgerName { counter: u64::MAX, hash: Hash([9; 32]) };
                a.writers =
                    vec![Writer { id: WriterId([0; 16]), ledger, v: None, before: None, forgotten: None }];
            }
            RowLie::OtherZ => row.secrets.iter_mut().for_each(|s| s.kept.z = Secret32::new([9; 32])),
            RowLie::NoSecrets => row.secrets.clear(),
            RowLie::NoShare => {
                let me = self.honest.replica(to, shard).me;
                row.secrets.iter_mut().for_each(|s| s.kept.shares.retain(|share| share.slot != me));
            }
            RowLie::Missing => {
                rows.remove(i);
            }
            RowLie::Old => {
                if let Some(old) = old() {
                    rows[i] = old;
                }
            }
            RowLie::Ended if a.live.is_some() => {
                let reg_id = a.live.take().map_or(RegId([0; 16]), |l| l.record.reg_id);
                (a.pending, a.finished_seed, a.writers) = (None, None, vec![]);
                a.ended = Some(Ended { cause: Cause::Exhausted, at: self.now, reg_id });
            }
            RowLie::Locked => a.lifetime_failures = a.lifetime_failures.max(limit),
            RowLie::Success if a.live.is_some() && a.ordinal.0 > a.success_ordinal().0 => {
                let success = Success {
                    ordinal: a.ordinal,
                    attempt: attempt_id(number),
                    blinded: element(number),
                    transcript: vec![1; 160],
                    signature: Signature([9; 64]),
                };
                (a.pending, a.finished, a.last_success) = (None, Some(success.attempt), Some(success));
            }
            RowLie::Refilled if a.live.is_some() => {
                refill(a);
                a.next_allowed = Time(0);
            }
            RowLie::OtherAttempt if a.pending.is_some() => {
                let p = pending(a.ordinal, a.tries_left() == 0, a.success_ordinal());
                a.pending = Some(Pending { deadline: Time(u64::MAX), ..p });
            }
            RowLie::Twice => {
                let row = row.clone();
                rows.push(row);
            }
            RowLie::OtherKey(more) => {
                let base = Generation((a.generation.0 + u64::from(more)).saturating_sub(1));
                let (key, store) = registration(number, who, base, &self.policy);
                let shares = shares_hash(&store.shares);
                a.generation = key.record.generation;
                refill(a);
                (a.stored, a.ended) = (None, None);
                let reg_id = key.record.reg_id;
                a.live = Some(Live { record: key.record, hash: key.hash, shares, since: self.now });
                let kept = Kept::new(&store.z, &store.shares);
                row.secrets = vec![RowSecrets { reg_id, kept }];
            }
            _ => {}
        }
    }

    /// The row of a person of another shard, as of its registration.
    fn foreign(&self, who: u8, shard: u16) -> Option<Row> {
        let id = account(who);
        let home = self.liar.seen.iter().filter(|s| s.reached.checkpoint.shard != shard);
        let mut row = home.flat_map(|s| s.reached.rows.iter()).find(|r| r.id == id)?.clone();
        refill(&mut row.account);
        self.complete(std::slice::from_mut(&mut row));
        Some(row)
    }
}

/// Gives all tries back.
fn refill(a: &mut Account) {
    (a.ordinal, a.last_success, a.finished) = (Ordinal(0), None, None);
    (a.pending, a.lifetime_failures, a.finished_seed) = (None, 0, None);
    a.failed.clear();
}
