//! The checkpoints of one shard on this vault: those that it has reached itself, what the regions have signed, and the newest certified one, of which it can send a
//! snapshot.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bkv_core::checkpoint::{Certificate, Checkpoint, Claims, Lists, Standing};
use bkv_core::fleet::Fleet;
use bkv_core::id::{Hash, NodeId, Slot};
use bkv_core::signature::RegionSignature;
use bkv_core::verify::Verifier;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::before::Overlay;
use super::rows::{InForce, StoredCertificate};
use crate::store::View;

/// A view is dropped after this time. It keeps the pages that the store has replaced since, so the file would grow for as long as nothing is certified.
const VIEW: Duration = Duration::from_mins(15);
/// Most own checkpoints that wait for signatures. Each holds a view, and with it the pages that the store has replaced since.
const OWN: usize = 4;
/// Most places for which the signatures of one slot are kept. Otherwise a lying region could fill the memory.
const PLACES: usize = 8;

/// The rows of a state, for a snapshot.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) copy: u32,
    pub(crate) view: Arc<View>,
    /// Shows the rows of a view from after the checkpoint as they were there.
    pub(crate) overlay: Arc<Overlay>,
}

/// A view and when it was opened.
type Pinned = (Arc<View>, Instant);

/// A checkpoint that this replica has reached.
struct Own {
    checkpoint: Checkpoint,
    fleet: Arc<Fleet>,
    membership: InForce,
    copy: u32,
    /// None until the commit, and after a restart.
    view: Option<Pinned>,
    /// The peers that have got this vault's signature.
    told: BTreeSet<NodeId>,
    /// A split was reported.
    split: bool,
}

struct Certified {
    certificate: Certificate,
    membership: InForce,
    /// The fleet and the live copy at that moment. None after a restart.
    rows: Option<(Arc<Fleet>, u32)>,
    view: Option<Pinned>,
    told: BTreeSet<NodeId>,
}

#[derive(Default)]
struct Inner {
    own: VecDeque<Own>,
    /// By index and chain hash: two histories are never compared.
    claims: BTreeMap<(u64, Hash), Claims>,
    certified: Option<Certified>,
    wanted: bool,
}

/// Counters for the metrics.
#[derive(Default)]
pub(crate) struct Counts {
    /// Checkpoints at which no t regions have signed the same digest.
    pub(crate) split: AtomicU64,
    /// Signatures of slots that have signed two digests at one place.
    pub(crate) two_faced: AtomicU64,
    /// Snapshots of other vaults that were refused after their head was accepted.
    pub(crate) refused: AtomicU64,
    /// Snapshots that could not be sent, because there is no certified view, or a row lacks its secrets.
    pub(crate) unsent: AtomicU64,
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Book {
    inner: Arc<Mutex<Inner>>,
    /// Wakes the node's task that signs and sends.
    wake: Arc<Notify>,
    pub(crate) counts: Arc<Counts>,
}

/// What new signatures have changed.
#[derive(Default)]
pub(crate) struct Change {
    /// The newest certificate is another one, or has more signatures: it must be made durable.
    pub(crate) certified: bool,
    /// t others have signed another digest at this index.
    pub(crate) contradicted: Option<u64>,
}

impl Book {
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self { inner: Arc::default(), wake, counts: Arc::default() }
    }

    /// A certified checkpoint that was read from the disk, or came with a snapshot. Its view follows. `write` hands it to the store, under the lock of
    /// [`Self::write_certified`].
    pub(super) fn restore(
        &self,
        stored: StoredCertificate,
        rows: Option<(Arc<Fleet>, u32)>,
        write: impl FnOnce(),
    ) {
        let StoredCertificate { certificate, membership } = stored;
        let (view, told) = (None, BTreeSet::new());
        let mut inner = self.inner.lock();
        inner.own.clear();
        inner.claims.clear();
        inner.certified = Some(Certified { certificate, membership, rows, view, told });
        write();
    }

    /// Hands the newest certificate to the store. The lock is held meanwhile: of two calls at once, none may write an older certificate behind a newer one.
    pub(super) fn write_certified(&self, write: impl FnOnce(StoredCertificate)) {
        let inner = self.inner.lock();
        if let Some(Certified { certificate, membership, .. }) = &inner.certified {
            write(StoredCertificate { certificate: certificate.clone(), membership: membership.clone() });
        }
    }

    /// The replica has reached a checkpoint. Its view follows once it is on disk.
    pub(super) fn reached(&self, checkpoint: Checkpoint, fleet: Arc<Fleet>, membership: InForce, copy: u32) {
        let mut inner = self.inner.lock();
        if inner.own.len() >= OWN {
            // The newest is kept: it is the one that peers are about to sign.
            inner.own.pop_front();
        }
        let (view, told, split) = (None, BTreeSet::new(), false);
        inner.own.push_back(Own { checkpoint, fleet, membership, copy, view, told, split });
        drop(inner);
        self.wake.notify_one();
    }

    /// The state at this index, from the store's own thread.
    pub(super) fn pinned(&self, index: u64, view: View) {
        let mut inner = self.inner.lock();
        let view = (Arc::new(view), Instant::now());
        if let Some(own) = inner.own.iter_mut().find(|o| o.checkpoint.index == index) {
            own.view = Some(view);
        } else if let Some(c) = inner.certified.as_mut().filter(|c| c.certificate.checkpoint.index == index) {
            c.view = Some(view);
        }
    }

    /// The shard has not changed since this checkpoint: a newer view shows the same rows, and lets the store reuse its old pages.
    pub(super) fn refreshed(&self, index: u64, fleet: Arc<Fleet>, copy: u32, view: View) {
        let mut inner = self.inner.lock();
        let view = (Arc::new(view), Instant::now());
        if let Some(own) = inner.own.iter_mut().find(|o| o.checkpoint.index == index) {
            own.view = Some(view.clone());
        }
        if let Some(c) = inner.certified.as_mut().filter(|c| c.certificate.checkpoint.index == index) {
            (c.rows, c.view) = (Some((fleet, copy)), Some(view));
        }
    }

    /// Drops views that are too old.
    pub(crate) fn drop_old_views(&self) {
        let mut inner = self.inner.lock();
        let old = |view: &Option<Pinned>| view.as_ref().is_some_and(|(_, at)| at.elapsed() > VIEW);
        inner.own.iter_mut().filter(|o| old(&o.view)).for_each(|o| o.view = None);
        inner.certified.iter_mut().filter(|c| old(&c.view)).for_each(|c| c.view = None);
    }

    /// The checkpoints that this vault has not signed.
    pub(crate) fn unsigned(&self, me: Slot) -> Vec<Checkpoint> {
        let inner = self.inner.lock();
        let own = inner.own.iter().map(|o| &o.checkpoint);
        own.filter(|c| !inner.claims.get(&place(c)).is_some_and(|k| k.knows(c, me))).cloned().collect()
    }

    /// Takes signatures, from this vault or from others, and compares this vault's own checkpoint with them.
    pub(crate) fn take(
        &self,
        given: &Certificate,
        lists: Lists<'_>,
        me: Option<Slot>,
        verifier: &dyn Verifier,
    ) -> Change {
        let c = &given.checkpoint;
        let mut by_slot: BTreeMap<Slot, &RegionSignature> = BTreeMap::new();
        for s in &given.signatures {
            by_slot.entry(s.slot).or_insert(s);
        }
        {
            let inner = self.inner.lock();
            if inner.certified.as_ref().is_some_and(|k| k.certificate.checkpoint.index > c.index) {
                return Change::default();
            }
            if let Some(claims) = inner.claims.get(&place(c)) {
                by_slot.retain(|slot, _| !claims.knows(c, *slot));
            }
        }
        // Without the lock, because this costs a few hundred microseconds.
        by_slot.retain(|_, s| lists.has_signed(c, s, verifier));
        let mut inner = self.inner.lock();
        for (slot, signature) in by_slot {
            inner.make_room(slot, place(c));
            if let Err(liar) = inner.claims.entry(place(c)).or_default().add(c, signature) {
                self.counts.two_faced.fetch_add(1, Ordering::Relaxed);
                tracing::error!(shard = c.shard, %liar, "a region has signed two states: it counts for none");
            }
        }
        self.settle(&mut inner, place(c), lists, me)
    }

    fn settle(&self, inner: &mut Inner, at: (u64, Hash), lists: Lists<'_>, me: Option<Slot>) -> Change {
        let mut change = Change::default();
        let Inner { own, claims, certified, .. } = inner;
        let Some(claims) = claims.get(&at) else { return change };
        // More signatures of the checkpoint that is certified already.
        if let Some(known) = certified.as_mut().filter(|k| place(&k.certificate.checkpoint) == at) {
            let now = claims.counted(&known.certificate.checkpoint, lists);
            if now.signatures.len() > known.certificate.signatures.len() {
                known.certificate = now;
                change.certified = true;
            }
            return change;
        }
        let Some(i) = own.iter().position(|o| place(&o.checkpoint) == at) else { return change };
        let Some(mine) = own.get_mut(i) else { return change };
        match claims.standing(&mine.checkpoint, me, lists) {
            Standing::Waiting => {}
            Standing::Contradicted => change.contradicted = Some(at.0),
            Standing::Split => {
                if !std::mem::replace(&mut mine.split, true) {
                    self.counts.split.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(
                        shard = mine.checkpoint.shard,
                        index = at.0,
                        "no t regions have the same state: nothing is certified"
                    );
                }
            }
            Standing::Certified(certificate) => {
                let Some(mine) = own.drain(..=i).next_back() else { return change };
                change.certified = true;
                let Own { membership, fleet, copy, view, told, .. } = mine;
                *certified =
                    Some(Certified { certificate, membership, rows: Some((fleet, copy)), view, told });
                inner.claims.retain(|(index, _), _| *index >= at.0);
            }
        }
        change
    }

    /// What each of these peers has not got yet: this vault's newest checkpoint, or the certified one, with all signatures on it.
    pub(crate) fn untold(&self, me: Slot, peers: &[NodeId]) -> Vec<(NodeId, Certificate)> {
        let inner = self.inner.lock();
        let signed =
            |o: &&Own| inner.claims.get(&place(&o.checkpoint)).is_some_and(|k| k.knows(&o.checkpoint, me));
        let newest = inner.own.iter().rev().find(signed).map(|o| {
            let claims = inner.claims.get(&place(&o.checkpoint));
            (claims.map(|k| k.of(&o.checkpoint)), &o.told)
        });
        let certified = inner.certified.as_ref().map(|c| (Some(c.certificate.clone()), &c.told));
        let Some((Some(certificate), told)) = newest.or(certified) else { return Vec::new() };
        peers.iter().filter(|p| !told.contains(p)).map(|p| (*p, certificate.clone())).collect()
    }

    /// A peer has got this vault's signature.
    pub(crate) fn told(&self, peer: NodeId, index: u64) {
        let mut inner = self.inner.lock();
        if let Some(own) = inner.own.iter_mut().find(|o| o.checkpoint.index == index) {
            own.told.insert(peer);
        }
        if let Some(c) = inner.certified.as_mut().filter(|c| c.certificate.checkpoint.index == index) {
            c.told.insert(peer);
        }
    }

    /// All signatures on this vault's own checkpoint at the place of another vault's.
    pub(crate) fn own_at(&self, other: &Checkpoint) -> Option<Certificate> {
        let inner = self.inner.lock();
        if let Some(c) = inner.certified.as_ref().filter(|c| place(&c.certificate.checkpoint) == place(other))
        {
            return Some(c.certificate.clone());
        }
        let mine = inner.own.iter().find(|o| place(&o.checkpoint) == place(other))?;
        Some(inner.claims.get(&place(other))?.of(&mine.checkpoint))
    }

    /// The newest certified checkpoint with the membership there.
    pub(crate) fn certified(&self) -> Option<(Certificate, InForce)> {
        let inner = self.inner.lock();
        inner.certified.as_ref().map(|c| (c.certificate.clone(), c.membership.clone()))
    }

    /// Index of the newest certified checkpoint.
    pub(crate) fn certified_index(&self) -> Option<u64> {
        self.inner.lock().certified.as_ref().map(|c| c.certificate.checkpoint.index)
    }

    /// The newest certified checkpoint with its rows, if there is a view of them.
    pub(crate) fn source(&self) -> Option<(Certificate, InForce, Source)> {
        let inner = self.inner.lock();
        let c = inner.certified.as_ref()?;
        let (fleet, copy) = c.rows.clone()?;
        let source = Source { fleet, copy, view: c.view.clone()?.0, overlay: Arc::default() };
        Some((c.certificate.clone(), c.membership.clone(), source))
    }

    /// The newest checkpoint that this replica has reached, certified or not.
    pub(crate) fn newest_checkpoint(&self) -> Option<Checkpoint> {
        let inner = self.inner.lock();
        let own = inner.own.back().map(|o| &o.checkpoint);
        own.or(inner.certified.as_ref().map(|c| &c.certificate.checkpoint)).cloned()
    }

    /// Its index.
    pub(crate) fn newest(&self) -> u64 {
        self.newest_checkpoint().map_or(0, |c| c.index)
    }

    /// A follower needs a snapshot, and there is no view to send: the leader makes a checkpoint.
    pub(crate) fn want(&self) {
        self.inner.lock().wanted = true;
        self.wake.notify_one();
    }

    /// True once after [`Self::want`].
    pub(crate) fn is_wanted(&self) -> bool {
        std::mem::take(&mut self.inner.lock().wanted)
    }
}

impl Inner {
    /// Drops the oldest signature of a slot that has too many.
    fn make_room(&mut self, slot: Slot, new: (u64, Hash)) {
        let has = |k: &Claims| k.slots().any(|s| s == slot);
        let places: Vec<(u64, Hash)> =
            self.claims.iter().filter(|(at, k)| **at != new && has(k)).map(|(at, _)| *at).collect();
        if places.len() < PLACES {
            return;
        }
        if let Some(oldest) = places.first()
            && let Some(claims) = self.claims.get_mut(oldest)
        {
            claims.forget(slot);
            if claims.is_empty() {
                self.claims.remove(oldest);
            }
        }
    }
}

const fn place(c: &Checkpoint) -> (u64, Hash) {
    (c.index, c.chain)
}

#[cfg(test)]
#[path = "book_test.rs"]
mod book_test;
