//! Takes the last V back, with the generations that only it opens.
//!
//! Whoever has the backup key and a sign-in can replace V at the vaults, and with it every ledger. The vaults keep the V before it for 7 days. [`take_back`] writes a ledger
//! under that V, and names both. It needs no state of the writer, so any device can do it. The writer's own device then meets a ledger that it did not write, and begins a
//! new writer.

use std::collections::HashSet;

use minicbor::bytes::ByteArray;

use crate::clock::Clock;
use crate::contents::Reading;
use crate::error::{Error, Result};
use crate::format::Id;
use crate::format::ledger::{Kept, Ledger, Series};
use crate::ledgers;
use crate::library::{Access, Choice, Expected, History, history};
use crate::vault::{Named, SetLedger, Vault, VaultFault};

/// Label and number of a generation.
pub type Of = (String, u64);

/// What came back.
#[derive(Debug, Default)]
pub struct TakenBack {
    /// Generations that the ledger named before did not have, and whose objects are all listed with their lengths.
    pub back: Vec<Of>,
    /// Those that are not: their data was deleted or is damaged.
    pub lost: Vec<Of>,
    /// Number of the ledger that was named before, if it did not open here: what only it had is given up.
    pub given_up: Option<u64>,
}

/// Takes back [`Expected::before`]. Changes nothing if no generation comes back by it.
///
/// Generations that were made since stand only in the ledger that the vault names. If it does not open here, they would be given up, so that is [`Error::RolledBack`] unless
/// `without_named`. A thief may have named a ledger that exists nowhere.
pub fn take_back(
    access: Access<'_>,
    vault: &dyn Vault,
    clock: &dyn Clock,
    known: &Expected,
    without_named: bool,
) -> Result<TakenBack> {
    let nothing = |what: &str| Err(Error::NoSuchGeneration(format!("{what}; V was not changed")));
    let Some(named) = known.named else { return nothing("the vault names no ledger of this writer") };
    let Some(before) = &known.before else { return nothing("the vault keeps no V before") };
    let expected = Expected { writer: known.writer, named: None, v: Some(before.clone()), before: None };
    let old = match history(access, known.writer, Some(&expected), true) {
        Ok(Some(old)) => old,
        Ok(None) | Err(Error::WrongV { .. }) => {
            return nothing("no ledger at this destination opens with the V before");
        }
        Err(error) => return Err(error),
    };
    let present = match ledgers::open(access.destination, &old.folder, access.key, known.v.as_ref(), named) {
        Err(error @ Error::Destination { .. }) => return Err(error),
        opened => opened.ok().flatten(),
    };
    let given_up = present.is_none().then_some(named.counter);
    if given_up.is_some() && !without_named {
        let object = old.folder.ledger(named.counter, &named.hash, 1);
        return Err(Error::RolledBack { counter: named.counter, object });
    }
    let (whole, mut taken) = sort_out(access, &old, present.as_ref())?;
    taken.given_up = given_up;
    if taken.back.is_empty() {
        return nothing("no generation that only the V before opens is whole at this destination");
    }
    let mut ledger = merged(old.ledger, whole, present);
    ledger.counter = named.counter.max(ledger.counter).saturating_add(1);
    ledger.before = Some(ByteArray::from(named.hash));
    ledger.written_ms = clock.now_ms();
    let (bytes, hash) = ledger.seal(access.key, Some(before))?;
    let new = Named { counter: ledger.counter, hash };
    ledgers::write(access.destination, &old.folder, new, &bytes)?;
    let change = SetLedger { writer: known.writer, expected: Some(named.hash), new, v: Some(before.clone()) };
    match vault.set(&change) {
        // The answer to an earlier call was lost.
        Ok(()) => Ok(taken),
        Err(VaultFault::Refused { named: Some(there) }) if there == new => Ok(taken),
        Err(fault) => {
            let object = old.folder.ledger(new.counter, &new.hash, 1);
            let what = if matches!(fault, VaultFault::Unreachable(_)) {
                "it is not known whether it took V back"
            } else {
                "V was not taken back"
            };
            Err(Error::Vault(format!("{fault}: {what}, and {object} was written for it; repeat the command")))
        }
    }
}

/// Parts the generations of the old ledger into those that stay, because the present one has them too or because they are whole, and those that are lost. A condemned
/// generation comes back like a kept one: the thief may have condemned it first.
fn sort_out(access: Access<'_>, old: &History, present: Option<&Ledger>) -> Result<(Vec<Kept>, TakenBack)> {
    let ids: HashSet<Id> =
        present.iter().flat_map(|ledger| &ledger.kept).map(|kept| kept.generation).collect();
    let label = |kept: &Kept| {
        let series = old.ledger.series.iter().find(|series| series.id == kept.series);
        series.map(|series| series.label.clone()).unwrap_or_default()
    };
    let (mut whole, mut taken) = (Vec::new(), TakenBack::default());
    let condemned = old.ledger.condemned.iter().map(|condemned| &condemned.kept);
    for kept in old.ledger.kept.iter().chain(condemned) {
        let of = (label(kept), kept.number);
        if ids.contains(&kept.generation) {
            whole.push(kept.clone());
            continue;
        }
        let reading = Reading::open(access, Choice { history: old, kept });
        match reading.and_then(|reading| reading.check_presence()) {
            Ok(()) => {
                whole.push(kept.clone());
                taken.back.push(of);
            }
            Err(error) if error.is_damage() => taken.lost.push(of),
            Err(error) => return Err(error),
        }
    }
    Ok((whole, taken))
}

/// The old ledger with what the present one has beside it. Where the two contradict each other, the old one counts.
fn merged(old: Ledger, whole: Vec<Kept>, present: Option<Ledger>) -> Ledger {
    let mut ledger = Ledger { kept: whole, ..old };
    // They say what to delete, and what comes back may need it.
    (ledger.condemned, ledger.unused, ledger.doomed, ledger.abandoned) = Default::default();
    let Some(present) = present else { return ledger };
    let is_new = |series: &Series| ledger.series.iter().all(|s| s.id != series.id && s.label != series.label);
    let new: Vec<Series> = present.series.into_iter().filter(is_new).collect();
    ledger.series.extend(new);
    let series: HashSet<Id> = ledger.series.iter().map(|series| series.id).collect();
    let numbers: HashSet<(Id, u64)> = ledger.kept.iter().map(|kept| (kept.series, kept.number)).collect();
    let fits = |kept: &Kept| series.contains(&kept.series) && !numbers.contains(&(kept.series, kept.number));
    ledger.kept.extend(present.kept.into_iter().filter(fits));
    ledger.condemned.extend(present.condemned.into_iter().filter(|condemned| fits(&condemned.kept)));
    ledger.kept.sort_by_key(|kept| (kept.series, kept.number));
    ledger.damaged.extend(present.damaged);
    ledger.damaged.sort_unstable();
    ledger.damaged.dedup();
    let known: HashSet<Id> = ledger.replaced.iter().map(|replaced| replaced.old).collect();
    ledger.replaced.extend(present.replaced.into_iter().filter(|replaced| !known.contains(&replaced.old)));
    ledger
}
