//! Lets generations go. Only a writer, under its lock, deletes in its own folder.
//!
//! [`condemn`] takes generations out of the ledger and lists them, and the blobs only they use, with the date. [`undo`] brings them back. [`sweep`], at least seven days
//! later, first writes a ledger without their seeds that lists what is to be deleted, then deletes it. A sweep that is killed is finished by the next one.

mod policy;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

use bkv_stream::Control;

pub use policy::{Policy, decide};

use crate::contents::Reading;
use crate::error::{Error, Result};
use crate::format::Id;
use crate::format::ledger::{Condemned, Doomed, Kept, Ledger, Unused};
use crate::format::names::Kind as ObjectKind;
use crate::ledgers;
use crate::library::{Access, Choice, History, Standing};
use crate::vault::Naming;
use crate::writer::{Renewal, Writer};

/// Time between condemning and deleting, in milliseconds: 7 days.
pub const GRACE_MS: i64 = 7 * 86_400_000;
/// What no ledger mentions is deleted at this age, by the destination's clock: 30 days.
pub const ORPHAN_MS: i64 = 30 * 86_400_000;
/// The newest ledgers stay, whatever their age.
const LEDGERS_KEPT: usize = 3;

/// What was condemned.
#[derive(Debug)]
pub struct Condemnation {
    /// Series and number of each generation.
    pub generations: Vec<(Id, u64)>,
    /// Blobs that only they use.
    pub blobs: usize,
    /// Whether the vault knows.
    pub naming: Naming,
}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// Generations whose seeds are gone.
    pub generations: usize,
    /// Objects that were deleted.
    pub objects: u64,
    /// Objects of killed backups.
    pub orphans: u64,
    /// Old ledgers.
    pub ledgers: u64,
    /// When the next condemned generation can be deleted, in milliseconds since 1970.
    pub next_ms: Option<i64>,
    /// Whether the vault knows.
    pub naming: Option<Naming>,
    /// True if V was changed. Copies of the destination that were made before open for 7 more days only.
    pub new_v: bool,
    /// Why V was not changed although seeds are gone. Until it is changed, an old ledger still opens with the key and V.
    pub v_kept: Option<String>,
    /// Since when that is so, in milliseconds since 1970. The next sweep with a new V ends it. None if nothing is owed.
    pub v_owed_since_ms: Option<i64>,
}

/// Condemns generations, given by series and number. The newest complete one of each series is refused, in this ledger and in the one that the vault names.
pub fn condemn(
    writer: &mut Writer<'_>,
    chosen: &BTreeSet<(Id, u64)>,
    control: Control<'_>,
) -> Result<Condemnation> {
    let ledger = writer.ledger().clone();
    let is_chosen = |kept: &Kept| chosen.contains(&(kept.series, kept.number));
    for (protecting, which) in [
        (Some(&ledger), "the newest of"),
        (writer.named_ledger()?.as_ref(), "the newest that the vault knows of"),
    ] {
        let mut needed = protecting.into_iter().flat_map(|ledger| {
            ledger.series.iter().filter_map(|series| Some((series, newest(ledger, &series.id)?)))
        });
        if let Some((series, kept)) = needed.find(|(_, kept)| is_chosen(kept) && ledger.kept.contains(kept)) {
            return Err(Error::Refused(format!(
                "generation {} is {which} '{}' and is never pruned; make a newer complete backup that the vault knows first",
                kept.number, series.label
            )));
        }
    }
    let (gone, stay): (Vec<Kept>, Vec<Kept>) = ledger.kept.into_iter().partition(is_chosen);
    let history = history(writer)?;
    let mut candidates = HashMap::new();
    for kept in &gone {
        control.check()?;
        match blobs(writer, &history, kept) {
            Ok(blobs) => candidates.extend(blobs),
            // Its blobs are not known. They are orphans once it is gone.
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
        }
    }
    // The sweep stops if any generation does not read: a blob that it uses could be taken for unused.
    for kept in &stay {
        control.check()?;
        let used = blobs(writer, &history, kept)?;
        candidates.retain(|id, _| !used.contains_key(id));
    }
    let since_ms = writer.outside.clock.now_ms();
    let mut unused: Vec<Doomed> =
        candidates.into_iter().map(|(id, objects)| Doomed { id, objects, blob: true }).collect();
    unused.sort_unstable();
    let (generations, blobs) = (gone.iter().map(|kept| (kept.series, kept.number)).collect(), unused.len());
    let naming = writer.commit(|ledger| {
        ledger.kept = stay;
        ledger.condemned.extend(gone.into_iter().map(|kept| Condemned { kept, since_ms }));
        if !unused.is_empty() {
            ledger.unused.push(Unused { since_ms, blobs: unused });
        }
    })?;
    Ok(Condemnation { generations, blobs, naming })
}

/// The newest complete generation of a series, or the newest if none is complete. Without it the series has nothing to restore.
fn newest<'l>(ledger: &'l Ledger, series: &Id) -> Option<&'l Kept> {
    let complete = ledger.generations(series).rev().find(|kept| kept.complete);
    complete.or_else(|| ledger.generations(series).next_back())
}

/// Brings all condemned generations back. Returns how many.
pub fn undo(writer: &mut Writer<'_>) -> Result<(usize, Naming)> {
    let count = writer.ledger().condemned.len();
    let naming = writer.commit(|ledger| {
        ledger.kept.extend(std::mem::take(&mut ledger.condemned).into_iter().map(|condemned| condemned.kept));
        ledger.kept.sort_by_key(|kept| (kept.series, kept.number));
        ledger.unused.clear();
    })?;
    Ok((count, naming))
}

/// Deletes what was condemned at least [`GRACE_MS`] ago, finishes an earlier sweep, and removes orphans and old ledgers. `new_v`: a person has just signed in, so V may change.
/// It changes if seeds go now, or went in a sweep that could not change it.
pub fn sweep(writer: &mut Writer<'_>, new_v: bool, control: Control<'_>) -> Result<Swept> {
    let now = writer.outside.clock.now_ms();
    writer.may_delete()?;
    let mut swept = Swept::default();
    let due = |since_ms: i64| since_ms.saturating_add(GRACE_MS) <= now;
    let ledger = writer.ledger().clone();
    let history = history(writer)?;
    let known = known(writer, &history, &ledger, control)?;
    let gone: Vec<&Condemned> = ledger.condemned.iter().filter(|condemned| due(condemned.since_ms)).collect();
    let mut doomed: Vec<Doomed> = gone
        .iter()
        .map(|c| Doomed { id: c.kept.generation, objects: c.kept.objects, blob: false })
        .chain(
            ledger
                .unused
                .iter()
                .filter(|unused| due(unused.since_ms))
                .flat_map(|unused| unused.blobs.clone()),
        )
        .collect();
    if let Some(again) = doomed.iter().find(|doomed| known.used.contains(&doomed.id)) {
        let name = writer.folder.object(ObjectKind::Blob, &again.id, 0);
        return Err(Error::Refused(format!(
            "{name} was condemned and is used again; nothing was deleted. Take the prune back with --undo"
        )));
    }
    swept.generations = gone.len();
    swept.next_ms =
        ledger.condemned.iter().map(|c| c.since_ms.saturating_add(GRACE_MS)).filter(|at| *at > now).min();
    if !doomed.is_empty() || ledger.v_owed_since_ms.is_some() {
        let let_go = |ledger: &mut Ledger| {
            ledger.condemned.retain(|condemned| !due(condemned.since_ms));
            ledger.unused.retain(|unused| !due(unused.since_ms));
            ledger.doomed.extend(&doomed);
            ledger.replaced.retain(|replaced| known.ids.contains(&replaced.blob.id));
            ledger.damaged.retain(|id| known.ids.contains(&**id));
            ledger.v_owed_since_ms = None;
        };
        swept.naming = match writer.renew(&let_go, new_v)? {
            Renewal::Done => {
                swept.new_v = true;
                Some(Naming::Named)
            }
            Renewal::NotDone(why) => {
                let is_owed = why.is_some();
                swept.v_kept = why;
                // Without this a later sweep, which lets nothing go, would not know that V must change.
                let owe = |ledger: &mut Ledger| {
                    let since_ms = ledger.v_owed_since_ms.or(is_owed.then_some(now));
                    let_go(ledger);
                    ledger.v_owed_since_ms = since_ms;
                };
                if doomed.is_empty() { None } else { Some(writer.commit(owe)?) }
            }
        };
        if let Some(Naming::NotNamed { fault, .. }) = &swept.naming {
            return Err(Error::Vault(format!("{fault}; nothing was deleted, and the next prune goes on")));
        }
        swept.v_owed_since_ms = writer.ledger().v_owed_since_ms;
    }
    doomed.clone_from(&writer.ledger().doomed);
    for doomed in &doomed {
        control.check()?;
        swept.objects += delete(writer, doomed)?;
    }
    if !doomed.is_empty() {
        swept.naming = Some(writer.commit(|ledger| ledger.doomed.clear())?);
    }
    // The vault did not take the last ledger, so it may be another device's.
    if matches!(swept.naming, Some(Naming::NotNamed { .. })) {
        return Ok(swept);
    }
    // A condemned generation can still be taken back, so its objects are known.
    if let Some(names) = &known.names {
        clean(writer, names, &mut swept, control)?;
    }
    Ok(swept)
}

/// This writer's backups as a reader sees them.
fn history(writer: &Writer<'_>) -> Result<History> {
    let outside = writer.outside;
    let folder = crate::format::Folder::new(&outside.tag, &writer.state().writer, outside.key)?;
    Ok(History {
        writer: writer.state().writer,
        ledger: writer.ledger().clone(),
        standing: Standing::Named,
        notes: Vec::new(),
        named: writer.state().newest(),
        folder,
    })
}

/// Ids and numbers of objects of the blobs that a generation uses.
fn blobs(writer: &Writer<'_>, history: &History, kept: &Kept) -> Result<HashMap<Id, u32>> {
    let outside = writer.outside;
    let access = Access { destination: outside.destination, key: outside.key, tag: outside.tag };
    let reading = Reading::open(access, Choice { history, kept })?;
    let blobs = reading.references(None)?;
    Ok(blobs
        .into_iter()
        .map(|blob| (blob.id, blob.lengths.layout().map_or(0, |layout| layout.objects)))
        .collect())
}

struct Known {
    /// Blobs and generations that are kept.
    used: HashSet<Id>,
    /// Blobs and generations that are kept or condemned.
    ids: HashSet<Id>,
    /// All names that the ledger accounts for, sorted. None if a condemned generation does not read: then it is not known what it needs.
    names: Option<Vec<u128>>,
}

fn known(writer: &Writer<'_>, history: &History, ledger: &Ledger, control: Control<'_>) -> Result<Known> {
    let mut all: BTreeMap<Id, (ObjectKind, u32)> = BTreeMap::new();
    let (mut used, mut all_read) = (HashSet::new(), true);
    let condemned = ledger.condemned.iter().map(|condemned| (&condemned.kept, false));
    for (kept, is_kept) in ledger.kept.iter().map(|kept| (kept, true)).chain(condemned) {
        control.check()?;
        all.insert(kept.generation, (ObjectKind::Stream, kept.objects));
        let blobs = match blobs(writer, history, kept) {
            Err(error) if !is_kept && error.is_damage() => {
                all_read = false;
                continue;
            }
            blobs => blobs?,
        };
        if is_kept {
            used.insert(kept.generation);
            used.extend(blobs.keys());
        }
        all.extend(blobs.into_iter().map(|(id, objects)| (id, (ObjectKind::Blob, objects))));
    }
    let ids = all.keys().copied().collect();
    let mut names = Vec::new();
    for (id, (kind, objects)) in all {
        names.extend((0..objects).map(|index| writer.folder.name(kind, &id, index)));
        if kind == ObjectKind::Stream {
            names.push(writer.folder.name(ObjectKind::Manifest, &id, 0));
        }
    }
    names.sort_unstable();
    Ok(Known { used, ids, names: all_read.then_some(names) })
}

fn delete(writer: &Writer<'_>, doomed: &Doomed) -> Result<u64> {
    let kind = if doomed.blob { ObjectKind::Blob } else { ObjectKind::Stream };
    let folder = &writer.folder;
    let mut names: Vec<String> =
        (0..doomed.objects).map(|index| folder.object(kind, &doomed.id, index)).collect();
    if !doomed.blob {
        names.push(folder.object(ObjectKind::Manifest, &doomed.id, 0));
    }
    for name in &names {
        writer.outside.destination.delete(name).map_err(|fault| Error::at("delete", name, fault))?;
    }
    Ok(names.len() as u64)
}

/// Removes objects that no ledger mentions and old ledgers, once they are 30 days old by the destination's own clock: the time of the newest ledger there.
fn clean(writer: &Writer<'_>, known: &[u128], swept: &mut Swept, control: Control<'_>) -> Result<()> {
    let destination = writer.outside.destination;
    let Some(newest) = writer.state().newest() else { return Ok(()) };
    let own = writer.folder.ledger(newest.counter, &newest.hash, 1);
    let listed = ledgers::list(destination, &writer.folder)?;
    let stay: HashSet<_> = listed.iter().take(LEDGERS_KEPT).map(|named| named.hash).collect();
    let mut times = (None, Vec::new());
    let mut each = |listed: crate::destination::Listed| {
        let is_orphan =
            writer.folder.parse(&listed.name).is_some_and(|name| known.binary_search(&name).is_err());
        let ledger = writer.folder.parse_ledger(&listed.name);
        if listed.name == own {
            times.0 = listed.meta.modified_ms;
        }
        let is_old = ledger.is_some_and(|(counter, hash)| counter < newest.counter && !stay.contains(&hash));
        if let (true, Some(at)) = (is_orphan || is_old, listed.meta.modified_ms) {
            times.1.push((listed.name, at, is_orphan));
        }
        ControlFlow::Continue(())
    };
    let path = writer.folder.path();
    destination.list(path, &mut each).map_err(|fault| Error::at("list", path, fault))?;
    // Without the destination's clock nothing is old.
    let (Some(now), found) = times else { return Ok(()) };
    for (name, at, is_orphan) in found {
        control.check()?;
        if at.saturating_add(ORPHAN_MS) <= now {
            destination.delete(&name).map_err(|fault| Error::at("delete", &name, fault))?;
            *(if is_orphan { &mut swept.orphans } else { &mut swept.ledgers }) += 1;
        }
    }
    Ok(())
}
