//! `bkv restore` of a backup in one file: a named one, one that comes through standard input, or the newest of a folder.

use std::fs::File;
use std::path::{Path, PathBuf};

use bkv_backups::format::Id;
use bkv_backups::format::manifest::Content;
use bkv_backups::restore::Report;
use bkv_backups::single;
use bkv_backups::{Error, Reading};
use bkv_client::{BackupKey, Status, WriterId};
use bkv_files::{Mode, NewFile};
use bkv_stream::{Control, Expect};

use super::candidates;
use super::restore::recover;
use super::series_restore::{Restore, checked, read};
use crate::backups::{Forms, PIPE, Reader, shown_place, single_file};
use crate::device::{DeviceState, Kept};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;

/// The device's key, or the one that the password gives. What is wrong with the files is found before a try is spent.
async fn key_of(out: Output, a: &Restore, named: &mut Vec<Id>) -> Outcome<Kept> {
    let device = DeviceState::open(&a.online.device)?;
    if device.load()?.is_none() {
        let series = |status: &Status| -> Vec<Id> {
            let ids = status.writers.iter().map(|writer| writer.id);
            ids.filter(|id| *id != WriterId::FILES).map(|id| id.0).collect()
        };
        let (.., ids) = recover(out, a, |status, _| Ok(series(status))).await?;
        *named = ids;
    }
    device.require()
}

pub(crate) async fn one(out: Output, a: Restore, file: File, not_here: Vec<Id>) -> Outcome {
    let patterns = checked(out, &a)?;
    single::look(&file, &shown_place(&a.from))?;
    let kept = key_of(out, &a, &mut Vec::new()).await?;
    let reader = Reader::of_file(out, &kept, file, &a.from)?.beside(not_here);
    read(out, a, patterns, reader).await
}

/// The newest of the folder's single files, if it is no file of an earlier version. Else None.
/// A device that gets its key for it also gets the writers that the vault names.
pub(crate) async fn newest(
    out: Output,
    a: &Restore,
    forms: &Forms,
    named: &mut Vec<Id>,
) -> Outcome<Option<PathBuf>> {
    let mut files = Vec::new();
    for path in &forms.files {
        if let Some(file) = single_file(path)? {
            files.push((path, file));
        }
    }
    if files.is_empty() {
        return Ok(None);
    }
    checked(out, a)?;
    let kept = key_of(out, a, named).await?;
    let key = kept.key()?;
    let mut best: Option<(i64, &PathBuf)> = None;
    for (path, file) in files {
        let shown = path.display().to_string();
        match single::open(file, &shown, &key) {
            Ok(opened) => {
                let made = opened.library.histories.iter().flat_map(|history| &history.ledger.kept);
                let made = made.map(|kept| kept.ended_ms).max().unwrap_or(i64::MIN);
                best = best.max(Some((made, path)));
            }
            Err(Error::WrongKey { .. }) => out.note(&format!("passed over: {shown}: another key's")),
            // It may be the newest.
            Err(error) if !a.allow_older => {
                return Err(Failure::from(error).remedy(
                    "It may be the newest. Fetch it again, or give the path of another file in place of the folder. Nothing was written.",
                ));
            }
            Err(error) => out.warning(&format!("passed over: {shown}: {error}")),
        }
    }
    Ok(best
        .filter(|(made, _)| old_file(a, &key).is_none_or(|old| old <= *made))
        .map(|(_, path)| path.clone()))
}

/// When the newest file of an earlier version was made that is of this key.
fn old_file(a: &Restore, key: &BackupKey) -> Option<i64> {
    let chosen = candidates::find(&a.from).ok()?.choose(&Expect::default(), Some(key)).ok()?;
    i64::try_from(chosen.header.manifest().created_ms).ok()
}

/// A stream of bytes has no folder. It becomes one file, or goes to standard output.
pub(super) fn write_stream(reading: &Reading<'_>, to: &Path, control: Control<'_>) -> Outcome<Report> {
    let bytes = if to.as_os_str() == PIPE {
        let mut sink = std::io::stdout().lock();
        reading.write_bytes(&mut sink, control)?
    } else {
        if std::fs::symlink_metadata(to).is_ok() {
            return Err(Failure::new(Exit::CantCreate, format!("{} exists already", to.display()))
                .remedy("The backup is a stream of bytes and becomes one file. Choose a path that does not exist yet. Nothing was touched."));
        }
        let failed = |e: std::io::Error| {
            Failure::new(Exit::CantCreate, format!("can't write {}: {e}", to.display()))
                .remedy("Make the folder writable, or choose another.")
        };
        let mut file = NewFile::at(to).map_err(failed)?;
        let bytes = reading.write_bytes(&mut file, control)?;
        file.publish(Mode::Private).map_err(failed)?;
        bytes
    };
    Ok(Report { files: 1, bytes, ..Report::default() })
}

/// True for a generation without files.
pub(super) fn is_stream(reading: &Reading<'_>) -> bool {
    reading.manifest().content != Content::Tree
}
