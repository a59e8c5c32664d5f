//! Sees every touch of a share, with what every disk had durable at that very moment, and every request that a vault decrypted.

use std::sync::{Arc, Mutex};

use bkv_core::id::{AttemptId, Element, Generation, Ordinal, Slot};
use bkv_core::statement::Attempt;
use bkv_wire::proto::inner::request::Operation;

use super::disk::{Disk, Image};

/// A region is about to evaluate.
#[derive(Clone)]
pub(crate) struct Touch {
    pub(crate) slot: Slot,
    pub(crate) word: Attempt,
    /// By vault: what its disk had then.
    pub(crate) durable: Vec<Image>,
}

impl Touch {
    pub(crate) fn place(&self) -> (Generation, Ordinal) {
        (self.word.generation, self.word.ordinal)
    }

    pub(crate) fn guess(&self) -> (AttemptId, Element) {
        (self.word.attempt, self.word.blinded)
    }
}

/// Shared by all vaults of a stand.
#[derive(Default)]
pub(crate) struct Witness {
    disks: Mutex<[Option<Disk>; 3]>,
    touches: Mutex<Vec<Touch>>,
    requests: Mutex<Vec<Operation>>,
    images: bool,
}

impl Witness {
    /// With images: for tests that ask what was durable. They are big.
    pub(crate) fn new(images: bool) -> Arc<Self> {
        Arc::new(Self { images, ..Self::default() })
    }

    pub(crate) fn disk(&self, vault: usize, disk: Disk) {
        self.disks.lock().unwrap()[vault] = Some(disk);
    }

    pub(crate) fn touched(&self, slot: Slot, word: &Attempt) {
        let disks = self.disks.lock().unwrap();
        let image = |d: &Option<Disk>| d.as_ref().map(Disk::image).unwrap_or_default();
        let durable = if self.images { disks.iter().map(image).collect() } else { Vec::new() };
        drop(disks);
        self.touches.lock().unwrap().push(Touch { slot, word: word.clone(), durable });
    }

    pub(crate) fn asked(&self, operation: &Operation) {
        self.requests.lock().unwrap().push(operation.clone());
    }

    /// All since the last call.
    pub(crate) fn take_touches(&self) -> Vec<Touch> {
        std::mem::take(&mut self.touches.lock().unwrap())
    }

    pub(crate) fn touches(&self) -> Vec<Touch> {
        self.touches.lock().unwrap().clone()
    }

    /// What can be replayed: all that concerns attempts.
    pub(crate) fn requests(&self) -> Vec<Operation> {
        let all = self.requests.lock().unwrap();
        let of_attempts = |o: &&Operation| {
            matches!(
                o,
                Operation::Begin(_)
                    | Operation::KeyExchange(_)
                    | Operation::Finish(_)
                    | Operation::GiveUp(_)
                    | Operation::MoreEvaluations(_)
            )
        };
        all.iter().filter(of_attempts).cloned().collect()
    }
}
