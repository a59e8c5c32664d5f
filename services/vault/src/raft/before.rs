//! The rows of a certified checkpoint, as they were there. The first change of a row behind a checkpoint keeps the row from before, in the same commit. So a vault that has just started again, or
//! whose view of the checkpoint is too old, can still send a snapshot of it. Otherwise, with one region away, a region that needs a snapshot and the only one that could send it would wait for each
//! other: a newer checkpoint needs entries that both have.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use bkv_core::encoding::cbor;
use zeroize::Zeroizing;

use super::rows::{fleet_place, read};
use crate::store::{Change, Place, Row, Store, StoreError, Table, View};

/// Most rows that are kept. Without a certificate more are kept behind each checkpoint, up to the size of the state for each: a rooted leader could fill the disk.
const MOST: usize = 1 << 16;
/// How long rows are kept while nothing is certified, in milliseconds of this vault's own clock. They contain secrets that were erased since (S14). Entry time would not do: a rooted leader
/// could freeze it. The rows are dropped with the next entry. A shard that applies nothing keeps them: otherwise a region that comes back after a long time could not catch up from the only
/// other one that is there.
const KEEP: u64 = 15 * 60_000;

/// The images are complete for no checkpoint so far.
const NEVER: u64 = u64::MAX;

/// A row, or none. Its image begins with the number of rows, so with 1 or 0.
type Value = Option<Zeroizing<Vec<u8>>>;

fn image(row: &Value) -> Vec<u8> {
    row.as_ref().map_or_else(|| vec![0], |row| [&[1], &row[..]].concat())
}

fn row(image: &[u8]) -> Result<Value, StoreError> {
    match image.split_first() {
        Some((0, [])) => Ok(None),
        Some((1, row)) => Ok(Some(Zeroizing::new(row.to_vec()))),
        _ => Err(StoreError::Malformed("row from before a change".into(), "its first byte".into())),
    }
}

fn prefix(shard: u16) -> Place {
    Place::new(Table::Before, shard, &[])
}

/// The place has `since`, so that a restart does not begin the time anew.
fn image_place(shard: u16, checkpoint: u64, since: u64, of: &Place) -> Place {
    let (table, key) = (of.bytes().get(..1), of.bytes().get(3..));
    let (checkpoint, since) = (checkpoint.to_be_bytes(), since.to_be_bytes());
    let key = [&checkpoint, &since, table.unwrap_or_default(), key.unwrap_or_default()].concat();
    Place::new(Table::Before, shard, &key)
}

/// The checkpoint, since when images are made behind it, and the place whose row it was.
fn parse(image: &Place) -> Option<(u64, u64, Place)> {
    let (head, rest) = image.bytes().split_at_checked(3)?;
    let (checkpoint, rest) = rest.split_first_chunk::<8>()?;
    let (since, rest) = rest.split_first_chunk::<8>()?;
    let (table, key) = rest.split_first()?;
    let of = [&[*table], head.get(1..)?, key].concat();
    Some((u64::from_be_bytes(*checkpoint), u64::from_be_bytes(*since), Place::from_bytes(&of)))
}

/// The row with the first checkpoint of which the images are complete. Without this row they always were.
fn complete_place(shard: u16) -> Place {
    Place::new(Table::Shard, shard, b"before")
}

/// The images between a checkpoint and the next one.
#[derive(Debug)]
struct Behind {
    /// When the first of them was made, by this vault's own clock.
    since: u64,
    /// The places whose rows have changed.
    places: HashSet<Place>,
}

impl Behind {
    fn new(since: u64) -> Self {
        Self { since, places: HashSet::new() }
    }
}

/// The images of one shard.
#[derive(Debug, Default)]
pub(super) struct Images {
    /// Index of a checkpoint → the images between it and the next one.
    changed: BTreeMap<u64, Behind>,
    /// The newest checkpoint. 0: there is none, and no image is made.
    newest: u64,
    /// The images of checkpoints from this one on are complete.
    complete_from: u64,
}

impl Images {
    /// Reads which there are. `certified` is the newest certified checkpoint.
    pub(super) fn open(store: &Store, shard: u16, certified: Option<u64>) -> Result<Self, StoreError> {
        let mut images = Self::default();
        if let Some(row) = store.get(&complete_place(shard))? {
            images.complete_from = read("complete images", &row)?;
        }
        let view = store.view()?;
        let mut from = prefix(shard);
        loop {
            let page = view.places(&prefix(shard), &from, 1024)?;
            let Some(last) = page.last() else { break };
            from = Place::from_bytes(&[last.bytes(), &[0]].concat());
            for (checkpoint, since, place) in page.iter().filter_map(parse) {
                images.changed.entry(checkpoint).or_insert_with(|| Behind::new(since)).places.insert(place);
            }
        }
        let newest = images.changed.keys().next_back().copied().unwrap_or(0);
        if images.complete_from != NEVER {
            images.newest = newest.max(certified.unwrap_or(0));
        }
        Ok(images)
    }

    /// Adds the images of the rows that these changes change for the first time behind the newest checkpoint. Drops all images if the oldest one is too old. `now` is this
    /// vault's own clock.
    pub(super) fn keep(
        &mut self,
        store: &Store,
        shard: u16,
        changes: &mut Vec<Change>,
        now: u64,
    ) -> Result<(), StoreError> {
        // Also if the clock was set back: otherwise the rows would stay until it has caught up.
        if self.changed.values().any(|b| now.abs_diff(b.since) > KEEP) {
            changes.extend(self.forget(shard));
        }
        if self.newest == 0 {
            return Ok(());
        }
        let mut images = Vec::new();
        let known = self.changed.entry(self.newest).or_insert_with(|| Behind::new(now));
        for place in changes.iter().map(|c| &c.place) {
            let sent = [Table::Account, Table::Secret].iter().any(|t| place.is_of(*t))
                || *place == fleet_place(shard);
            if !sent || known.places.contains(place) {
                continue;
            }
            known.places.insert(place.clone());
            let image_place = image_place(shard, self.newest, known.since, place);
            images.push(Change::put(image_place, image(&store.get(place)?)));
        }
        if known.places.is_empty() {
            self.changed.remove(&self.newest);
        }
        changes.extend(images);
        if self.changed.values().map(|b| b.places.len()).sum::<usize>() > MOST {
            changes.extend(self.forget(shard));
        }
        Ok(())
    }

    /// The replica has reached a checkpoint.
    pub(super) fn reached(&mut self, shard: u16, checkpoint: u64) -> Option<Change> {
        self.newest = checkpoint;
        (self.complete_from == NEVER).then(|| self.complete_at(shard, checkpoint))
    }

    /// A snapshot of this checkpoint is installed.
    pub(super) fn installed(&mut self, shard: u16, checkpoint: u64) -> Vec<Change> {
        let mut changes = self.forget(shard);
        self.newest = checkpoint;
        changes.push(self.complete_at(shard, checkpoint));
        changes
    }

    /// Drops all images. The next ones are made behind the next checkpoint.
    fn forget(&mut self, shard: u16) -> Vec<Change> {
        let mut changes = self.drop_before(shard, u64::MAX);
        self.newest = 0;
        changes.push(self.complete_at(shard, NEVER));
        changes
    }

    fn complete_at(&mut self, shard: u16, checkpoint: u64) -> Change {
        self.complete_from = checkpoint;
        Change::put(complete_place(shard), cbor(&checkpoint))
    }

    /// A checkpoint is certified: the images of earlier ones are of no more use.
    pub(super) fn certified(&mut self, shard: u16, checkpoint: u64) -> Vec<Change> {
        self.drop_before(shard, checkpoint)
    }

    fn drop_before(&mut self, shard: u16, checkpoint: u64) -> Vec<Change> {
        let kept = self.changed.split_off(&checkpoint);
        let dropped = std::mem::replace(&mut self.changed, kept);
        let places = |(at, Behind { since, places }): (u64, Behind)| {
            places.into_iter().map(move |p| Change::remove(image_place(shard, at, since, &p)))
        };
        dropped.into_iter().flat_map(places).collect()
    }

    /// What shows the rows as they were at a checkpoint. None if the images are not complete.
    pub(super) fn at(&self, shard: u16, checkpoint: u64) -> Option<Overlay> {
        if checkpoint < self.complete_from {
            return None;
        }
        let mut images = BTreeMap::new();
        for (at, Behind { since, places }) in self.changed.range(checkpoint..) {
            for place in places {
                images.entry(place.clone()).or_insert_with(|| image_place(shard, *at, *since, place));
            }
        }
        Some(Overlay { images })
    }
}

/// Shows a later view's rows as they were at a checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// A row's place → its image's place: that of its first change.
    images: BTreeMap<Place, Place>,
}

impl Overlay {
    /// None if the view is from before the change: then its row is right.
    fn before(&self, view: &View, place: &Place) -> Result<Option<Value>, StoreError> {
        let image = self.images.get(place).map(|image| view.get(image)).transpose()?.flatten();
        image.map(|image| row(&image)).transpose()
    }

    /// One row.
    pub(super) fn get(&self, view: &View, place: &Place) -> Result<Value, StoreError> {
        self.before(view, place)?.map_or_else(|| view.get(place), Ok)
    }

    /// Rows whose places begin with `prefix`, in their order, starting after `after`: `max` of them, or all that are left.
    pub(super) fn rows_under(
        &self,
        view: &View,
        prefix: &Place,
        after: Option<&Place>,
        max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if self.images.is_empty() {
            return view.rows_under(prefix, after, max);
        }
        let (mut found, mut after) = (Vec::new(), after.cloned());
        let behind = Place::from_bytes(&prefix.bounds().1);
        loop {
            let page = view.rows_under(prefix, after.as_ref(), max)?;
            let end = page.last().filter(|_| page.len() >= max).map(|(place, _)| place.clone());
            let mut rows: BTreeMap<Place, Value> =
                page.into_iter().map(|(place, row)| (place, Some(row))).collect();
            let from = after.map_or(Bound::Included(prefix.clone()), Bound::Excluded);
            let to = end.clone().map_or(Bound::Excluded(behind.clone()), Bound::Included);
            for (place, _) in self.images.range((from, to)) {
                if let Some(before) = self.before(view, place)? {
                    rows.insert(place.clone(), before);
                }
            }
            found.extend(rows.into_iter().filter_map(|(place, row)| Some((place, row?))));
            if end.is_none() || found.len() >= max {
                found.truncate(max);
                return Ok(found);
            }
            after = end;
        }
    }
}

#[cfg(test)]
#[path = "before_test.rs"]
mod before_test;
