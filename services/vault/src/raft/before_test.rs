use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::env::OsRandom;
use crate::store::DataKeys;
use crate::store::store_test::TestKeys;

const SHARD: u16 = 3;

/// A shard's rows beside what they should be.
struct Model {
    store: Store,
    images: Images,
    now: BTreeMap<Place, Vec<u8>>,
    /// The rows at each checkpoint.
    then: BTreeMap<u64, BTreeMap<Place, Vec<u8>>>,
    certified: u64,
    index: u64,
    /// The vault's own clock.
    clock: u64,
}

fn accounts() -> Place {
    Place::of_copy(Table::Account, SHARD, 0, &[])
}

impl Model {
    fn new(dir: &std::path::Path) -> Self {
        let keys: Arc<dyn DataKeys> = Arc::new(TestKeys([1; 32]));
        let store = Store::open(dir, &keys, &OsRandom).unwrap();
        let images = Images::open(&store, SHARD, None).unwrap();
        let (now, then) = (BTreeMap::new(), BTreeMap::new());
        Self { store, images, now, then, certified: 0, index: 0, clock: 0 }
    }

    /// Puts or removes a row, or two in one job.
    fn change(&mut self, rng: &mut StdRng) {
        self.index += 1;
        let mut changes = Vec::new();
        for _ in 0..rng.gen_range(1..3) {
            let place = Place::of_copy(Table::Account, SHARD, 0, &[rng.gen_range(0..9)]);
            let value = rng.gen_bool(0.7).then(|| self.index.to_be_bytes().to_vec());
            match &value {
                Some(value) => drop(self.now.insert(place.clone(), value.clone())),
                None => drop(self.now.remove(&place)),
            }
            changes.push(Change { place, value });
        }
        self.images.keep(&self.store, SHARD, &mut changes, self.clock).unwrap();
        self.store.write(changes, None);
    }

    fn checkpoint(&mut self) {
        self.index += 1;
        self.then.insert(self.index, self.now.clone());
        let complete = self.images.reached(SHARD, self.index);
        self.store.write(complete.into_iter().collect(), None);
    }

    fn certify(&mut self, rng: &mut StdRng) {
        let later: Vec<u64> = self.then.range(self.certified + 1..).map(|(at, _)| *at).collect();
        if !later.is_empty() {
            self.certified = later[rng.gen_range(0..later.len())];
            let dropped = self.images.certified(SHARD, self.certified);
            self.store.write(dropped, None);
        }
    }

    async fn restart(&mut self) {
        self.store.flush().await.unwrap();
        self.images = Images::open(&self.store, SHARD, Some(self.certified).filter(|c| *c > 0)).unwrap();
        // Checkpoints that were not certified are forgotten.
        self.then.retain(|at, _| *at <= self.certified);
    }

    /// Reads the rows of the certified checkpoint, so many at once.
    fn read(&self, max: usize) -> BTreeMap<Place, Vec<u8>> {
        let overlay = self.images.at(SHARD, self.certified).unwrap();
        let (view, mut found, mut after) = (self.store.view().unwrap(), BTreeMap::new(), None);
        loop {
            let page = overlay.rows_under(&view, &accounts(), after.as_ref(), max).unwrap();
            after = page.last().map(|(place, _)| place.clone());
            let last = page.len() < max;
            for (place, row) in page {
                assert_eq!(overlay.get(&view, &place).unwrap().as_ref(), Some(&row));
                found.insert(place, row.to_vec());
            }
            if last {
                return found;
            }
        }
    }

    fn rows_of(&self, table: Table) -> usize {
        self.store.rows(table, SHARD, None, 1000).unwrap().len()
    }
}

/// S48: whatever changes behind a certified checkpoint, and with restarts in between, its rows are read as they were.
#[tokio::test]
async fn s48_the_rows_of_a_certified_checkpoint_are_read_as_they_were() {
    let first = std::env::var("BKV_SEED").ok().map_or_else(rand::random, |s| s.parse().unwrap());
    for seed in (0..20u64).map(|n| n.wrapping_add(first)) {
        println!("BKV_SEED={seed}");
        let (dir, mut rng) = (tempfile::tempdir().unwrap(), StdRng::seed_from_u64(seed));
        let mut model = Model::new(dir.path());
        for _ in 0..120 {
            match rng.gen_range(0..20) {
                0..=11 => model.change(&mut rng),
                12..=15 => model.checkpoint(),
                16..=17 => model.certify(&mut rng),
                _ => model.restart().await,
            }
            if model.certified > 0 {
                model.store.flush().await.unwrap();
                assert_eq!(model.read(rng.gen_range(1..12)), model.then[&model.certified]);
            }
        }
    }
}

/// S14: rows from before a change may contain secrets that were erased since. They go with the next certificate, and after a while without one. A rooted leader whose
/// entries all have the same time, and come to no checkpoint, does not keep them, and a restart does not begin the time anew.
#[tokio::test]
async fn s14_rows_from_before_a_change_do_not_stay() {
    let (dir, mut rng) = (tempfile::tempdir().unwrap(), StdRng::seed_from_u64(1));
    let mut model = Model::new(dir.path());
    let mut change = async |model: &mut Model| {
        (0..20).for_each(|_| model.change(&mut rng));
        model.store.flush().await.unwrap();
        assert!(model.rows_of(Table::Before) > 0);
    };
    model.checkpoint();
    change(&mut model).await;
    model.certified = model.index + 1;
    model.checkpoint();
    let dropped = model.images.certified(SHARD, model.certified);
    model.store.write(dropped, None);
    model.store.flush().await.unwrap();
    assert_eq!(model.rows_of(Table::Before), 0, "with the next certificate");
    change(&mut model).await;
    for minutes in [1, 15, 16] {
        model.images = Images::open(&model.store, SHARD, Some(model.certified)).unwrap();
        model.clock = minutes * 60_000;
        let mut entry = vec![Change::put(Place::of_copy(Table::Account, SHARD, 0, &[0]), vec![1])];
        model.images.keep(&model.store, SHARD, &mut entry, model.clock).unwrap();
        model.store.write(entry, None);
        model.store.flush().await.unwrap();
        assert_eq!(model.rows_of(Table::Before) == 0, minutes == 16, "{minutes} minutes");
    }
    model.checkpoint();
    model.store.flush().await.unwrap();
    // What was dropped is not taken for the rows of the certified checkpoint, also after a restart.
    for restarted in [false, true] {
        if restarted {
            model.images = Images::open(&model.store, SHARD, Some(model.certified)).unwrap();
        }
        assert!(model.images.at(SHARD, model.certified).is_none());
        assert!(model.images.at(SHARD, model.index).is_some());
    }
}
