//! Checkpoints: each verified replica signs its own, and keeps the newest that t regions have signed.

use bkv_core::checkpoint::{Certificate, Checkpoint, Lists, Standing};
use bkv_core::signature::RegionSignature;
use bkv_core::statement;

use super::super::fake::{Fake, signed_by};
use super::replica::{Happened, Replica};

impl Replica {
    /// This replica's signatures on checkpoints that it has not signed yet.
    pub(super) fn sign_reached(&mut self) -> Vec<(Checkpoint, RegionSignature)> {
        if !self.is_verified() {
            return Vec::new();
        }
        let own = self.reached.iter().map(|r| r.checkpoint.clone());
        let signed: Vec<_> = own
            .filter(|c| !self.claims.get(&(c.index, c.chain)).is_some_and(|k| k.knows(c, self.me)))
            .map(|c| {
                let signature = signed_by(self.me, &statement::checkpoint(&c, self.me));
                (c, signature)
            })
            .collect();
        for (c, s) in &signed {
            self.take(c, s);
        }
        signed
    }

    /// Takes a signature of any region.
    pub(super) fn take(&mut self, c: &Checkpoint, s: &RegionSignature) {
        let list = self.fleet().documents.admission.clone();
        let lists = Lists::new(&list, &list);
        if c.shard != self.number || !lists.has_signed(c, s, &Fake) {
            return;
        }
        let at = (c.index, c.chain);
        // A slot that signs two digests counts for neither.
        let _ = self.claims.entry(at).or_default().add(c, s);
        let Some(i) = self.reached.iter().position(|r| (r.checkpoint.index, r.checkpoint.chain) == at) else {
            return;
        };
        match self.claims[&at].standing(&self.reached[i].checkpoint, Some(self.me), lists) {
            Standing::Certified(certificate) => self.keep(i, certificate),
            Standing::Contradicted => self.happened.push(Happened::Contradicted),
            Standing::Waiting | Standing::Split => {}
        }
    }

    fn keep(&mut self, i: usize, certificate: Certificate) {
        if let Some(reached) = self.reached.drain(..=i).next_back() {
            self.claims.retain(|(index, _), _| *index >= reached.checkpoint.index);
            self.certified = Some((certificate, reached));
        }
    }

    /// Drops the log up to the newest certified checkpoint.
    pub(super) fn purge(&mut self) {
        let certified = self.certified.as_ref().map(|(c, _)| c.checkpoint.index);
        if let Some(place) = certified.and_then(|index| self.log.place(index)) {
            self.log.restart_at(place);
        }
    }
}
