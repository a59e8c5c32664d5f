//! Reads and authenticates backups without restoring them, and tells the next backup what to store anew.
//!
//! [`verify`] proves the copies of each ledger, each manifest, each stream and each blob: once, however many generations use it. [`mark_damaged`] writes the blobs that
//! did not read into the ledger. The next backup takes none of them for known, reads their files again and stores them under new names and keys.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bkv_stream::Control;
use minicbor::bytes::ByteArray;

use crate::contents::Reading;
use crate::error::{Error, Result};
use crate::format::names::LEDGER_COPIES;
use crate::format::secret::random_id;
use crate::format::{Id, sha256};
use crate::ledgers;
use crate::library::{Access, Choice, History};
use crate::vault::Naming;
use crate::writer::Writer;

/// What a verification reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// The share of blobs, from 0 to 1. Each run draws others. Ledgers, manifests and streams are always read.
    pub sample: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { sample: 1.0 }
    }
}

/// An object that did not read.
#[derive(Debug)]
pub struct Finding {
    /// The writer.
    pub writer: Id,
    /// Series and number of each generation that needs the object. Empty for a ledger.
    pub generations: Vec<(String, u64)>,
    /// The object, or the first one of a blob.
    pub object: String,
    /// What is wrong with it.
    pub error: Error,
}

/// The result of a verification.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Generations whose manifest and stream were read.
    pub generations: u64,
    /// Blobs and packs that were read.
    pub blobs: u64,
    /// Bytes of content that were proved.
    pub bytes: u64,
    /// What did not read.
    pub findings: Vec<Finding>,
    /// The damaged or missing blobs of each writer, for [`mark_damaged`]. A destination that did not answer proves no damage.
    pub damaged: BTreeMap<Id, BTreeSet<Id>>,
}

/// Verifies all kept generations of a writer, or of those that `chosen` takes, by series and number.
pub fn verify(
    access: Access<'_>,
    history: &History,
    chosen: Option<&dyn Fn(&Id, u64) -> bool>,
    options: Options,
    verdict: &mut Verdict,
    control: Control<'_>,
) -> Result<()> {
    check_ledger(access, history, verdict)?;
    let draw = Draw { seed: random_id()?, share: options.sample };
    let seen = RefCell::new(Seen::default());
    let kept = history.ledger.kept.iter();
    for kept in kept.filter(|kept| chosen.is_none_or(|chosen| chosen(&kept.series, kept.number))) {
        let label = history.ledger.series.iter().find(|series| series.id == kept.series);
        let name = (label.map_or_else(String::new, |series| series.label.clone()), kept.number);
        let choose = |id: &Id| {
            // A listing may fail or begin again, so it counts nothing as read.
            let mut seen = seen.borrow_mut();
            let finding = seen.broken.get(id).copied();
            seen.also.extend(finding);
            finding.is_none() && draw.takes(id) && !seen.proved.contains(id)
        };
        let read = Reading::open(access, Choice { history, kept })
            .and_then(|reading| reading.verify(Some(&choose), control));
        for finding in std::mem::take(&mut seen.borrow_mut().also) {
            let known = verdict.findings.get_mut(finding).map(|finding| &mut finding.generations);
            if let Some(known) = known.filter(|known| !known.contains(&name)) {
                known.push(name.clone());
            }
        }
        let verified = match read {
            Ok(verified) => verified,
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => {
                let object = format!("generation {} of '{}'", name.1, name.0);
                let finding = Finding { writer: history.writer, generations: vec![name], object, error };
                verdict.findings.push(finding);
                continue;
            }
        };
        verdict.generations += 1;
        verdict.blobs += verified.blobs;
        verdict.bytes += verified.bytes;
        seen.borrow_mut().proved.extend(&verified.proved);
        for (id, (object, error)) in verified.broken_blobs.into_iter().zip(verified.broken) {
            if error.is_damage() || error.is_unreadable() {
                verdict.damaged.entry(history.writer).or_default().insert(id);
            }
            seen.borrow_mut().broken.insert(id, verdict.findings.len());
            let generations = vec![name.clone()];
            verdict.findings.push(Finding { writer: history.writer, generations, object, error });
        }
    }
    Ok(())
}

/// Blobs of the generations before.
#[derive(Default)]
struct Seen {
    proved: HashSet<Id>,
    /// Number of the finding of each broken blob.
    broken: HashMap<Id, usize>,
    /// Findings that the present generation has too.
    also: Vec<usize>,
}

/// Draws a share of the blobs, others in each run.
struct Draw {
    seed: Id,
    share: f64,
}

impl Draw {
    fn takes(&self, id: &Id) -> bool {
        let hash = sha256(&[self.seed, *id].concat());
        let number = hash.first_chunk::<4>().map_or(0, |first| u32::from_be_bytes(*first));
        f64::from(number) < self.share * (f64::from(u32::MAX) + 1.0)
    }
}

/// Both copies of the ledger. One is enough to read it, so a broken one would not be noticed otherwise.
fn check_ledger(access: Access<'_>, history: &History, verdict: &mut Verdict) -> Result<()> {
    let Some(named) = history.named else { return Ok(()) };
    for copy in LEDGER_COPIES {
        if let Err(error) = ledgers::check(access.destination, &history.folder, named, copy) {
            if matches!(error, Error::Cancelled) {
                return Err(error);
            }
            let object = history.folder.ledger(named.counter, &named.hash, copy);
            let finding = Finding { writer: history.writer, generations: Vec::new(), object, error };
            verdict.findings.push(finding);
        }
    }
    Ok(())
}

/// Writes into the ledger that these blobs of the writer are damaged. Also writes a new pair of copies of the ledger.
pub fn mark_damaged(writer: &mut Writer<'_>, blobs: &BTreeSet<Id>) -> Result<Naming> {
    writer.commit(|ledger| {
        let mut all: BTreeSet<Id> = ledger.damaged.iter().map(|id| **id).collect();
        all.extend(blobs);
        ledger.damaged = all.into_iter().map(ByteArray::from).collect();
    })
}
