//! Checkpoints: places in the log where every replica computes the digest of its state and signs it. The signatures of t regions are a certificate: a snapshot is
//! installed only with one.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::document::{Admission, Member};
use crate::id::{Era, Hash, Lineage, NodeId, Slot, Time};
use crate::signature::RegionSignature;
use crate::statement;
use crate::verify::Verifier;

/// Every entry at a multiple of this index is a checkpoint.
const EVERY: u64 = 4096;
/// The first entry of each minute of entry time is a checkpoint.
const MINUTE: u64 = 60_000;

/// A batch without commands is a checkpoint only if it begins a new step of entry time. Each costs every replica a commit and a signature. Entry time is at most 30 s ahead
/// of an honest clock, so a rooted leader that floods the log with such batches gets few more checkpoints than an honest one.
const STEP: u64 = 5_000;

/// True if the entry at `index` is a checkpoint. `before` and `now` are the entry times before and after it. If a follower needs a snapshot, the
/// leader can make a checkpoint soon by committing a batch without commands.
pub fn is_checkpoint(index: u64, before: Time, now: Time, without_commands: bool) -> bool {
    let minute = before.0 / MINUTE != now.0 / MINUTE;
    minute || (without_commands && begins_step(before, now)) || index.is_multiple_of(EVERY)
}

/// True if a batch without commands at `now` is a checkpoint.
pub const fn begins_step(before: Time, now: Time) -> bool {
    before.0 / STEP < now.0 / STEP
}

/// The first entry time after `now` at which a batch without commands is a checkpoint.
pub const fn next_step(now: Time) -> Time {
    Time((now.0 / STEP).saturating_add(1).saturating_mul(STEP))
}

/// What a replica signs: a position of the log, and the digest of its state there.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Checkpoint {
    /// Hash of the first root keys and the fleet id.
    #[n(0)]
    pub lineage: Lineage,
    /// Rises when a new fleet takes over the lineage.
    #[n(1)]
    pub era: Era,
    /// The shard.
    #[n(2)]
    pub shard: u16,
    /// Term of the entry.
    #[n(3)]
    pub term: u64,
    /// Leader of the entry.
    #[n(4)]
    pub leader: NodeId,
    /// Index of the entry.
    #[n(5)]
    pub index: u64,
    /// The chain hash at the entry.
    #[n(6)]
    pub chain: Hash,
    /// Number of the admission list in force there.
    #[n(7)]
    pub list: u64,
    /// Entry time.
    #[n(8)]
    pub time: Time,
    /// The number of accounts.
    #[n(9)]
    pub rows: u64,
    /// [`crate::digest::Digest::of_state`].
    #[n(10)]
    pub digest: Hash,
    /// The version of the state in force there. It is in the digest, too, which nobody can compare before the last row of a snapshot has come.
    #[n(11)]
    pub version: u32,
}

/// A checkpoint with the signatures of several regions. Anybody may pass it on.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Certificate {
    /// What they signed.
    #[n(0)]
    pub checkpoint: Checkpoint,
    /// Slot, boot key's certificate, and the boot key's signature over [`statement::checkpoint`].
    #[n(1)]
    pub signatures: Vec<RegionSignature>,
}

/// Why a certificate is not enough.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Uncertified {
    /// The admission list is another one than that of the checkpoint.
    #[error("the checkpoint is of admission list {0}, and list {1} is at hand")]
    List(u64, u64),
    /// Fewer distinct slots have signed than the list's threshold.
    #[error("only {0} of the {1} signatures that are needed hold")]
    TooFew(usize, u8),
}

/// The admission lists by which signatures on a checkpoint are judged.
#[derive(Clone, Copy, Debug)]
pub struct Lists<'a> {
    /// The list in force at the checkpoint. Its threshold counts.
    at: &'a Admission,
    /// The newest list that this vault knows. The shard may not have applied it yet.
    newest: &'a Admission,
}

impl<'a> Lists<'a> {
    /// `at` is the list in force at the checkpoint, `obeyed` the list that this vault obeys.
    pub const fn new(at: &'a Admission, obeyed: &'a Admission) -> Self {
        let newest = if obeyed.number > at.number { obeyed } else { at };
        Self { at, newest }
    }

    /// The member whose signature counts for this slot. A list replaces an identity because an attacker may have it, so from then on that identity signs for nobody, not even
    /// for the time before.
    fn signer(&self, slot: Slot) -> Option<&'a Member> {
        let same = |m: &&Member| self.at.member(slot).is_some_and(|a| a.is_same_vault(m));
        self.newest.member(slot).filter(same)
    }

    /// True if the slot has signed the checkpoint. Its boot certificate is judged at the checkpoint's entry time, so that a signature stays valid.
    pub fn has_signed(
        &self,
        checkpoint: &Checkpoint,
        signature: &RegionSignature,
        verifier: &dyn Verifier,
    ) -> bool {
        let fits = checkpoint.list == self.at.number
            && checkpoint.lineage == self.at.lineage
            && checkpoint.era == self.at.era
            && self.signer(signature.slot).is_some();
        let statement = statement::checkpoint(checkpoint, signature.slot);
        // The newest list judges the boot certificate, because a vault makes it under the newest list that it knows.
        fits && verifier.region_signature(self.newest, signature, &statement, checkpoint.time)
    }
}

impl Certificate {
    /// Checks that t distinct slots have signed. `me` is not counted: a receiver that has lost its state must not vouch for what it gets.
    pub fn check(
        &self,
        lists: Lists<'_>,
        me: Option<Slot>,
        verifier: &dyn Verifier,
    ) -> Result<(), Uncertified> {
        #[cfg(feature = "put-back")]
        if crate::put_back::is_off(crate::put_back::Rule::Certificate) {
            return Ok(());
        }
        let list = lists.at;
        if self.checkpoint.list != list.number {
            return Err(Uncertified::List(self.checkpoint.list, list.number));
        }
        let mut by_slot: BTreeMap<Slot, &RegionSignature> = BTreeMap::new();
        // Each slot is tried once, so that a long list of bad signatures costs no time.
        for s in self.signatures.iter().filter(|s| Some(s.slot) != me) {
            by_slot.entry(s.slot).or_insert(s);
        }
        by_slot.retain(|_, s| lists.has_signed(&self.checkpoint, s, verifier));
        if by_slot.len() < usize::from(list.threshold) {
            return Err(Uncertified::TooFew(by_slot.len(), list.threshold));
        }
        Ok(())
    }
}

/// What a slot has signed for one place of one history.
#[derive(Clone, Debug)]
enum Claim {
    One(Box<(Checkpoint, RegionSignature)>),
    /// Two checkpoints: the slot counts for none.
    Both,
}

/// A slot has signed two different checkpoints at one place of one history. Both signatures together prove it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "slot {slot} has signed two digests at index {}: {} by {:02x?}, {} by {:02x?}",
    .first.0.index, .first.0.digest, .first.1.signature.0, .second.0.digest, .second.1.signature.0
)]
pub struct TwoFaced {
    /// The liar.
    pub slot: Slot,
    /// What it signed first.
    pub first: Box<(Checkpoint, RegionSignature)>,
    /// What it signed then.
    pub second: Box<(Checkpoint, RegionSignature)>,
}

/// The signatures at one place of one history: one index, one chain hash.
#[derive(Clone, Debug, Default)]
pub struct Claims(BTreeMap<Slot, Claim>);

/// Where a replica stands with its own checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Too few have signed so far.
    Waiting,
    /// At least t have signed the same.
    Certified(Certificate),
    /// t others have signed the same other digest. This replica's state is wrong.
    Contradicted,
    /// All whose signature counts have signed, and no t the same. Nobody can tell who is right, so all go on.
    Split,
}

impl Claims {
    /// Takes a signature that [`Lists::has_signed`] has checked.
    pub fn add(&mut self, checkpoint: &Checkpoint, signature: &RegionSignature) -> Result<(), Box<TwoFaced>> {
        let slot = signature.slot;
        let new = || Box::new((checkpoint.clone(), signature.clone()));
        match self.0.get(&slot) {
            None => {
                self.0.insert(slot, Claim::One(new()));
                Ok(())
            }
            Some(Claim::One(first)) if first.0 != *checkpoint => {
                let two = TwoFaced { slot, first: first.clone(), second: new() };
                self.0.insert(slot, Claim::Both);
                Err(Box::new(two))
            }
            Some(_) => Ok(()),
        }
    }

    /// True if another signature of the slot on this checkpoint would change nothing.
    pub fn knows(&self, checkpoint: &Checkpoint, slot: Slot) -> bool {
        match self.0.get(&slot) {
            None => false,
            Some(Claim::One(one)) => one.0 == *checkpoint,
            Some(Claim::Both) => true,
        }
    }

    /// Drops what the slot has signed here.
    pub fn forget(&mut self, slot: Slot) {
        self.0.remove(&slot);
    }

    /// The slots that have signed anything here.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.0.keys().copied()
    }

    /// True if nobody has signed anything here.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The signatures of exactly this checkpoint.
    pub fn of(&self, checkpoint: &Checkpoint) -> Certificate {
        let signatures = self.single().filter(|(c, _)| *c == checkpoint).map(|(_, s)| s.clone()).collect();
        Certificate { checkpoint: checkpoint.clone(), signatures }
    }

    /// The signatures of exactly this checkpoint that still count. A newer list may have replaced an identity since its signature was taken.
    pub fn counted(&self, checkpoint: &Checkpoint, lists: Lists<'_>) -> Certificate {
        let mut certificate = self.of(checkpoint);
        certificate.signatures.retain(|s| lists.signer(s.slot).is_some());
        certificate
    }

    /// Compares a replica's own checkpoint with what has been signed.
    pub fn standing(&self, mine: &Checkpoint, me: Option<Slot>, lists: Lists<'_>) -> Standing {
        let list = lists.at;
        let needed = usize::from(list.threshold);
        let own = self.counted(mine, lists);
        if own.signatures.len() >= needed {
            return Standing::Certified(own);
        }
        let mut others: BTreeMap<Hash, usize> = BTreeMap::new();
        let counts = |slot: Slot| lists.signer(slot).is_some();
        for (c, _) in self.single().filter(|(c, s)| *c != mine && Some(s.slot) != me && counts(s.slot)) {
            // Checkpoints that differ in another field than the digest are as different.
            *others.entry(crate::hash::tagged("checkpoint", &[&crate::encoding::cbor(c)])).or_default() += 1;
        }
        let most = others.values().copied().max().unwrap_or(0);
        let silent = list.members.iter().filter(|m| counts(m.slot) && !self.0.contains_key(&m.slot)).count();
        if most >= needed {
            Standing::Contradicted
        } else if own.signatures.len().max(most) + silent < needed {
            Standing::Split
        } else {
            Standing::Waiting
        }
    }

    fn single(&self) -> impl Iterator<Item = (&Checkpoint, &RegionSignature)> {
        self.0.values().filter_map(|c| match c {
            Claim::One(one) => Some((&one.0, &one.1)),
            Claim::Both => None,
        })
    }
}
