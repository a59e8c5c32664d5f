//! Records every evaluation, with the durable content of every disk at that moment, and every request that a vault decrypted.

use std::sync::{Arc, Mutex};

use bkv_core::id::{AttemptId, Element, Generation, Ordinal, Slot};
use bkv_core::statement::Attempt;
use bkv_vault::env::Observer;
use bkv_wire::proto::inner::request::Operation;

use crate::disk::{Disk, Image};

/// A region is about to evaluate.
#[derive(Clone)]
pub struct Evaluation {
    pub slot: Slot,
    pub statement: Attempt,
    /// By vault: the durable content of its disk then.
    pub durable: Vec<Image>,
}

impl Evaluation {
    pub fn place(&self) -> (Generation, Ordinal) {
        (self.statement.generation, self.statement.ordinal)
    }

    pub fn guess(&self) -> (AttemptId, Element) {
        (self.statement.attempt, self.statement.blinded)
    }
}

/// Shared by all vaults of a simulation.
#[derive(Default)]
pub struct Witness {
    disks: Mutex<[Option<Disk>; 3]>,
    evaluations: Mutex<Vec<Evaluation>>,
    requests: Mutex<Vec<Operation>>,
    images: bool,
}

impl Witness {
    /// `images`: record the disks too, for tests that check what was durable. Images are big.
    pub fn new(images: bool) -> Arc<Self> {
        Arc::new(Self { images, ..Self::default() })
    }

    pub fn disk(&self, vault: usize, disk: Disk) {
        self.disks.lock().unwrap()[vault] = Some(disk);
    }
}

impl Observer for Witness {
    fn evaluating(&self, slot: Slot, statement: &Attempt) {
        let disks = self.disks.lock().unwrap();
        let image = |d: &Option<Disk>| d.as_ref().map(Disk::image).unwrap_or_default();
        let durable = if self.images { disks.iter().map(image).collect() } else { Vec::new() };
        drop(disks);
        self.evaluations.lock().unwrap().push(Evaluation { slot, statement: statement.clone(), durable });
    }

    fn decrypted(&self, operation: &Operation) {
        self.requests.lock().unwrap().push(operation.clone());
    }
}

impl Witness {
    /// Takes all evaluations since the last call.
    pub fn take_evaluations(&self) -> Vec<Evaluation> {
        std::mem::take(&mut self.evaluations.lock().unwrap())
    }

    pub fn evaluations(&self) -> Vec<Evaluation> {
        self.evaluations.lock().unwrap().clone()
    }

    /// Takes all requests since the last call.
    pub fn take_requests(&self) -> Vec<Operation> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// The requests about attempts, which an attacker could replay.
    pub fn requests(&self) -> Vec<Operation> {
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
