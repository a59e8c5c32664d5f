//! Reads the backups at a destination, from any device. Changes nothing.

use bkv_stream::BackupKey;

use crate::destination::Destination;
use crate::error::{Error, Result};
use crate::format::ledger::{Kept, Ledger};
use crate::format::names::parse_writer;
use crate::format::secret::Secret;
use crate::format::{Folder, Id, Tag};
use crate::ledgers;
use crate::vault::Named;

/// A destination with the key of an account.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// Where the objects are.
    pub destination: &'a dyn Destination,
    /// The backup key.
    pub key: &'a BackupKey,
    /// The account's folder.
    pub tag: Tag,
}

impl std::fmt::Debug for Access<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// What the vault, or this device, knows of a writer.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The device.
    pub writer: Id,
    /// Its newest ledger. None if it is not known: then a rollback can't be noticed.
    pub named: Option<Named>,
    /// V. None without forward secrecy.
    pub v: Option<Secret>,
    /// The V before it, which the vault keeps for 7 days. With it a copy of the destination opens that is older than the present V, if the caller accepts an older ledger.
    pub before: Option<Secret>,
}

/// How the ledger that was read relates to what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is the one that is named.
    Named,
    /// It is newer than the vault knows, and follows the one that it names: made while the vault could not be reached.
    Newer {
        /// Number of the ledger that the vault names.
        than: u64,
    },
    /// Nothing is known of the writer, so an older ledger could be shown without notice.
    Unchecked,
    /// The caller accepted an older ledger than the newest.
    Older,
    /// A backup in one file, which has no ledger and is never judged a rollback.
    SingleFile,
}

/// One writer's backups.
#[derive(Debug)]
pub struct History {
    /// The device.
    pub writer: Id,
    /// Its ledger.
    pub ledger: Ledger,
    /// Whether that is the newest.
    pub standing: Standing,
    /// Newer ledgers that the vault does not name and that do not read, or do not lead back to the named one because a ledger between is missing. A killed backup leaves one,
    /// and so does a sync that has not finished.
    pub notes: Vec<Error>,
    /// The ledger's number and hash. None for a backup in one file.
    pub(crate) named: Option<Named>,
    pub(crate) folder: Folder,
}

/// A generation and where it is.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'l> {
    /// The writer's backups.
    pub history: &'l History,
    /// The generation.
    pub kept: &'l Kept,
}

/// Which generation of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The newest.
    Latest,
    /// By number.
    Number(u64),
    /// The newest that ended at this time or before, in milliseconds since 1970.
    At(i64),
}

/// All backups of an account at a destination.
#[derive(Debug, Default)]
pub struct Library {
    /// Writers whose ledger opened.
    pub histories: Vec<History>,
    /// Writers whose ledger did not, and why.
    pub unreadable: Vec<(Id, Error)>,
    /// Folders of other accounts beside this one's.
    pub other_accounts: usize,
}

/// Opens the ledgers of all writers. `accept_older` takes the newest ledger that opens if the newest does not.
pub fn open(access: Access<'_>, expected: &[Expected], accept_older: bool) -> Result<Library> {
    let at = |folder: &str, fault| Error::at("list", folder, fault);
    let ours = access.tag.folder();
    let accounts = access.destination.folders("").map_err(|fault| at("the destination", fault))?;
    let other_accounts =
        accounts.iter().filter(|name| name.starts_with(Tag::PREFIX) && **name != ours).count();
    let folders = access.destination.folders(&ours).map_err(|fault| at(&ours, fault))?;
    let mut writers: Vec<Id> = folders.iter().filter_map(|name| parse_writer(name)).collect();
    writers.extend(expected.iter().filter(|e| e.named.is_some()).map(|e| e.writer));
    writers.sort_unstable();
    writers.dedup();
    let mut library = Library { other_accounts, ..Library::default() };
    for writer in writers {
        let known = expected.iter().find(|expected| expected.writer == writer);
        match history(access, writer, known, accept_older) {
            Ok(Some(history)) => library.histories.push(history),
            Ok(None) => {}
            Err(error) => library.unreadable.push((writer, error)),
        }
    }
    Ok(library)
}

/// One writer's newest ledger. None if it wrote none.
pub fn history(
    access: Access<'_>,
    writer: Id,
    expected: Option<&Expected>,
    accept_older: bool,
) -> Result<Option<History>> {
    let folder = Folder::new(&access.tag, &writer, access.key)?;
    let v = expected.and_then(|expected| expected.v.as_ref());
    let open = |named| ledgers::open(access.destination, &folder, access.key, v, named);
    let named = expected.and_then(|expected| expected.named);
    let (listed, no_list) = match ledgers::list(access.destination, &folder) {
        Ok(listed) => (listed, None),
        // What is named leads to its ledger without a listing.
        Err(error) if named.is_some() => (Vec::new(), Some(error)),
        Err(error) => return Err(error),
    };
    let mut errors: Vec<(Named, Error)> = Vec::new();
    let mut found: Option<(Named, Ledger)> = None;
    // A listing is used to find newer ones only.
    for candidate in listed.iter().copied().filter(|l| named.is_none_or(|named| l.counter > named.counter)) {
        match open(candidate) {
            Ok(Some(ledger)) => {
                check_fork(&listed, candidate, &ledger, &open)?;
                match named.map_or(Ok(()), |named| trace(named, &ledger, &folder, &open)) {
                    Ok(()) => {
                        found = Some((candidate, ledger));
                        break;
                    }
                    Err(Error::Twin) => return Err(Error::Twin),
                    Err(error) => errors.push((candidate, error)),
                }
            }
            // A file that this key did not write may be anything that somebody put there. Without a name it stops all the same: it may be the newest.
            Err(error)
                if named.is_none() || !matches!(error, Error::WrongKey { .. } | Error::Foreign { .. }) =>
            {
                errors.push((candidate, error));
            }
            Ok(None) | Err(_) => {}
        }
    }
    if let Some((_, ledger)) = &found {
        // The same device began it, was killed, and has written this one in its place.
        errors.retain(|(failed, _)| !ledgers::gave_up(ledger, &failed.hash));
    }
    let mut notes: Vec<Error> = errors.into_iter().map(|(_, error)| error).collect();
    if named.is_none() && !accept_older && !notes.is_empty() {
        return Err(notes.swap_remove(0));
    }
    let (at, ledger, standing) = match (named, found) {
        // Ledgers are here, and none opens, as without V. That is not the same as no backup.
        (None, None) => return notes.into_iter().next().map_or(Ok(None), Err),
        (None, Some((newest, ledger))) => {
            let older = listed.first().is_some_and(|first| first.counter > newest.counter);
            (newest, ledger, if older { Standing::Older } else { Standing::Unchecked })
        }
        (Some(named), Some((newest, ledger))) => (newest, ledger, Standing::Newer { than: named.counter }),
        (Some(named), None) => match open(named) {
            Ok(Some(ledger)) => (named, ledger, Standing::Named),
            other => {
                let object = folder.ledger(named.counter, &named.hash, 1);
                let rolled_back = Error::RolledBack { counter: named.counter, object };
                let error = other.err().unwrap_or(rolled_back);
                let older = listed.iter().filter(|l| l.counter < named.counter && accept_older);
                let before = expected.and_then(|expected| expected.before.as_ref());
                let open_old = |older| {
                    let under = |v| ledgers::open(access.destination, &folder, access.key, v, older);
                    let ledger = under(v).ok().flatten();
                    ledger.or_else(|| before.and_then(|before| under(Some(before)).ok().flatten()))
                };
                let found = older.copied().find_map(|older| open_old(older).map(|ledger| (older, ledger)));
                let (at, ledger) = found.ok_or(error)?;
                (at, ledger, Standing::Older)
            }
        },
    };
    notes.extend(no_list);
    Ok(Some(History { writer, ledger, standing, notes, named: Some(at), folder }))
}

/// Two ledgers of one number that both open, of which neither gave up the other, were written by twins. Neither is taken silently.
fn check_fork(
    listed: &[Named],
    newest: Named,
    ledger: &Ledger,
    open: &impl Fn(Named) -> Result<Option<Ledger>>,
) -> Result<()> {
    for other in listed.iter().filter(|other| other.counter == newest.counter && other.hash != newest.hash) {
        if let Ok(Some(twin)) = open(*other)
            && !ledgers::gave_up(ledger, &other.hash)
            && !ledgers::gave_up(&twin, &newest.hash)
        {
            return Err(Error::Twin);
        }
    }
    Ok(())
}

/// Follows the ledgers before a newer one back to the one that the vault names. One that leads past it is a twin's. If one between is missing, or does not read, that error
/// is returned: then it is not known whose the newer one is.
fn trace(
    named: Named,
    newer: &Ledger,
    folder: &Folder,
    open: &impl Fn(Named) -> Result<Option<Ledger>>,
) -> Result<()> {
    let before = |ledger: &Ledger| -> Result<Named> {
        let hash = ledger.before.as_ref().map(|hash| **hash).ok_or(Error::Twin)?;
        Ok(Named { counter: ledger.counter.saturating_sub(1), hash })
    };
    let mut at = before(newer)?;
    while at.counter > named.counter {
        let first = folder.ledger(at.counter, &at.hash, 1);
        let ledger = open(at)?.ok_or(Error::NotAllHere { missing: 1, needed: 1, first })?;
        at = before(&ledger)?;
    }
    if at == named { Ok(()) } else { Err(Error::Twin) }
}

impl Library {
    /// Chooses a generation. Without a label there must be only one series. The error names what there is.
    pub fn choose(&self, label: Option<&str>, which: Which) -> Result<Choice<'_>> {
        let mut series = Vec::new();
        for history in &self.histories {
            let fits =
                history.ledger.series.iter().filter(|series| label.is_none_or(|label| label == series.label));
            series.extend(fits.map(|series| (history, series)));
        }
        let (history, chosen) = match series.as_slice() {
            [] => return Err(self.nothing(label)),
            [only] => *only,
            several => {
                let names: Vec<String> = several
                    .iter()
                    .map(|(history, series)| {
                        format!("'{}' of writer {}", series.label, hex::encode(history.writer))
                    })
                    .collect();
                let text = format!(
                    "several series are here: {}; name one, and its writer if two have that name",
                    names.join(", ")
                );
                return Err(Error::NoSuchGeneration(text));
            }
        };
        let fits = |kept: &&Kept| match which {
            Which::Latest => true,
            Which::Number(number) => kept.number == number,
            Which::At(ms) => kept.ended_ms <= ms,
        };
        let kept = history.ledger.generations(&chosen.id).rev().find(fits).ok_or_else(|| {
            let numbers: Vec<String> =
                history.ledger.generations(&chosen.id).map(|kept| kept.number.to_string()).collect();
            Error::NoSuchGeneration(format!(
                "the series '{}' has no such generation; it has {}",
                chosen.label,
                if numbers.is_empty() { "none".into() } else { numbers.join(", ") }
            ))
        })?;
        Ok(Choice { history, kept })
    }

    fn nothing(&self, label: Option<&str>) -> Error {
        let labels: Vec<&str> = self
            .histories
            .iter()
            .flat_map(|history| &history.ledger.series)
            .map(|series| series.label.as_str())
            .collect();
        let others = self.other_accounts;
        Error::NoSuchGeneration(match label {
            Some(label) if !labels.is_empty() => {
                format!("there is no series '{label}'; there are {}", labels.join(", "))
            }
            _ if others > 0 => format!(
                "no backup of this account is here, and {others} of other accounts or keys; check the place, and the digits or the account"
            ),
            _ => "no backup is here; check the place".into(),
        })
    }
}
