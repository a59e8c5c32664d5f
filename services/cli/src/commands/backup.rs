//! `bkv backup` of a single file: a folder into one encrypted file of the cloud folder, then the newest backup's name to the vault.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bkv_client::BackupKey;
use bkv_stream::archive::{Identity, PackOptions, backup_folder};
use bkv_stream::{BackupReader, Compression, Control, Expect, Known, Manifest, Options, inspect};
use serde_json::json;

use super::connection::{ASK, online};
use super::interrupt::cancellable;
use super::{ownership, saved};
use crate::args::MaybeOnline;
use crate::device::{DeviceState, Kept, Mode};
use crate::exit::{Exit, Failure, Outcome};
use crate::failure::now_ms;
use crate::legible;
use crate::output::{Output, facts};
use crate::profile;
use crate::progress::{Progress, bytes};
use crate::signals::{Sent, interruptible};
use crate::words::count;

/// What is backed up, and how.
#[derive(Debug)]
pub(crate) struct FileBackup {
    pub source: PathBuf,
    pub to: PathBuf,
    pub name: Option<String>,
    pub compress: bool,
    pub skip_unreadable: bool,
    pub online: MaybeOnline,
}

/// The backups' own folder is not packed: each backup would contain all earlier ones.
fn own_place(source: &Path, to: &Path) -> Vec<Identity> {
    let identity = |path: &Path| std::fs::symlink_metadata(path).map(|m| (m.dev(), m.ino())).ok();
    let (Ok(source), Ok(to)) = (source.canonicalize(), to.canonicalize()) else { return Vec::new() };
    if !to.starts_with(&source) {
        return Vec::new();
    }
    if to != source {
        return identity(&to).into_iter().collect();
    }
    // The backups lie in the folder that is backed up: leave them out.
    let entries = std::fs::read_dir(&to).into_iter().flatten().flatten().map(|e| e.path());
    let own =
        |p: &PathBuf| p.to_string_lossy().ends_with(".bkv") || p.to_string_lossy().ends_with(".bkv.partial");
    entries.filter(own).filter_map(|p| identity(&p)).collect()
}

/// A backup under a password names the account, so the access token must be of that account. Returns the number of the newest backup that the vault knows,
/// perhaps of another device. If no vault answers, the backup is made all the same.
async fn ask_vault(m: &MaybeOnline, device: &DeviceState, kept: &Kept) -> Outcome<Option<u64>> {
    let mut m = m.clone();
    m.timeout = m.timeout.min(ASK.as_secs());
    let (Some(_), Some(_), Mode::Password) = (&m.fleet, &m.token, kept.mode) else { return Ok(None) };
    let (client, _) = profile::client(&online(m)?, device)?;
    // Naming the backup at the end reports why no vault answers.
    let Ok(status) = client.quick_status().await else { return Ok(None) };
    let lineage = client.trusted().await?.admission().lineage;
    ownership::check(kept, &status.account, &lineage, Exit::OtherAccount)?;
    Ok(status.newest_file().map(|newest| newest.counter))
}

/// The number of the next backup: above those that this device, the vault and the folder know. A restore takes the highest number, so a device that is behind
/// must not count on from its own.
fn next_sequence(device: Option<u64>, vault: Option<u64>, folder: Option<u64>) -> Option<u64> {
    device.max(vault).max(folder).unwrap_or(0).checked_add(1)
}

/// The highest number of this key's backups in the folder. A header alone proves nothing: whoever writes to the folder could use up the numbers with one. So it counts
/// only with its first segment, which authenticates it.
fn highest_in(folder: &Path, key: &BackupKey) -> Option<u64> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    // A pipe would block.
    let files = entries.filter(|e| e.metadata().is_ok_and(|m| m.is_file())).map(|e| e.path());
    let number =
        |path: &PathBuf| Some(inspect(&mut std::fs::File::open(path).ok()?).ok()?.manifest().sequence);
    let mut numbered: Vec<(u64, PathBuf)> = files
        .filter(|p| p.extension().is_some_and(|e| e == "bkv"))
        .filter_map(|p| Some((number(&p)?, p)))
        .collect();
    numbered.sort_unstable_by(|a, b| b.cmp(a));
    let is_authentic = |path: &Path| {
        let Ok(file) = std::fs::File::open(path) else { return false };
        BackupReader::new(file, key, &Expect::default(), 1)
            .is_ok_and(|mut reader| reader.next_segment().is_ok())
    };
    numbered.into_iter().find(|(_, path)| is_authentic(path)).map(|(number, _)| number)
}

fn no_number_left() -> Failure {
    Failure::new(Exit::CantCreate, "the numbers of this key's backups are used up")
        .remedy("A device has named a backup with the highest number. Make a new key with `bkv register` on a new state folder, and back up under it.")
}

/// What to do about a backup that the vault does not know.
fn not_named(failure: &Failure) -> String {
    let advice = failure.remedy.as_deref().unwrap_or_default();
    format!(
        "The backup is whole, but the vault does not know of it: {}. Until it knows of this backup or a newer one, another device can't notice if an older one is served in its place. {advice}",
        failure.message
    )
}

pub(crate) async fn run(out: Output, a: FileBackup) -> Outcome {
    // Until the end: a second backup would take the same number, and a restore takes only one of two with the same number.
    let device = DeviceState::open_for_backup(&a.online.device)?;
    let kept = device.require()?;
    let key = kept.key()?;
    let name = match &a.name {
        Some(name) => name.clone(),
        None => a
            .source
            .canonicalize()
            .ok()
            .and_then(|p| p.file_name().map(|n| n.to_string_lossy().into_owned()))
            .unwrap_or_else(|| "backup".into()),
    };
    if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
        return Err(Failure::new(
            Exit::NoInput,
            "a backup's name can't be empty, begin with a dot or hold a slash",
        )
        .remedy("Choose another with --name."));
    }
    if let Err(e) = std::fs::metadata(&a.source) {
        return Err(Failure::new(Exit::NoInput, format!("can't read {}: {e}", a.source.display()))
            .remedy("Check the path of the folder that is to be backed up."));
    }
    if let Err(e) = std::fs::metadata(&a.to) {
        return Err(Failure::new(Exit::CantCreate, format!("can't use {}: {e}", a.to.display()))
            .remedy("Make it first, or check the path."));
    }
    if !a.to.is_dir() {
        return Err(Failure::new(Exit::CantCreate, format!("{} is not a folder", a.to.display()))
            .remedy("Make it first, or check the path."));
    }
    let vault = ask_vault(&a.online, &device, &kept).await?;
    let now = now_ms();
    let newest = device.newest(&kept)?.map(|newest| newest.sequence);
    let folder = highest_in(&a.to, &key);
    let mut sequence = next_sequence(newest, vault, folder).ok_or_else(no_number_left)?;
    let named = |sequence: u64| a.to.join(format!("{name}-{sequence:06}.bkv"));
    // This device may not know the number of an existing backup, after a crash or because of another device of that name. Never overwrite that file.
    while std::fs::symlink_metadata(named(sequence)).is_ok() {
        sequence = sequence.checked_add(1).ok_or_else(no_number_left)?;
    }
    let mut manifest = Manifest::new(kept.account()?, kept.series()?, sequence, now);
    manifest.lineage = kept.lineage()?;
    if a.compress {
        manifest.compression = Compression::Zstd;
    }
    let target: PathBuf = named(sequence);
    let leave_out = own_place(&a.source, &a.to);
    let (source, file, skip) = (a.source.clone(), target.clone(), a.skip_unreadable);
    let progress = Progress::new(out, "Backing up", None);
    let packed = cancellable(move |cancel| {
        let control = Control { progress: &progress, cancel };
        let options = PackOptions { skip_unreadable: skip, replace: false, leave_out };
        let packed =
            backup_folder(&source, &file, &key, manifest, Options::default().workers, &options, control);
        progress.end();
        packed
    });
    let report = packed.await??;
    device.saw(&kept, Known { sequence, hash: *report.header.hash() })?;
    if let Some(path) = &report.taken_over {
        out.note(&format!("Removed {}: a backup that was killed had left it.", path.display()));
    }
    let packed = &report.packed;
    let skipped: Vec<(&Path, String)> =
        (packed.skipped.iter().map(|(p, why)| (p.as_path(), why.to_string())))
            .chain(packed.special.iter().map(|p| (p.as_path(), "a pipe, socket or device".to_owned())))
            .chain(
                packed
                    .left_out
                    .iter()
                    .map(|p| (p.as_path(), "backups go there, and none holds the others".to_owned())),
            )
            .collect();
    for (path, why) in &skipped {
        out.note(&format!("left out: {}: {why}", path.display()));
    }
    for path in &packed.changed {
        out.note(&format!("changed while it was read: {}: it is in the backup as it was", path.display()));
    }
    let mut unnamed: Option<Failure> = None;
    if kept.mode == Mode::Password {
        // The backup is complete even if no vault can record it now.
        unnamed = name_it(a.online, &device, &kept.key()?, &report.header).await.err();
    }
    let unnamed = unnamed.map(|failure| saved::advise(failure, Some(&kept)));
    if let Some(failure) = unnamed.as_ref().filter(|f| f.exit == Exit::Interrupted) {
        return Err(Failure::new(Exit::Interrupted, failure.message.clone())
            .remedy("The backup is whole. Whether the vault knows of it was not seen: make another backup.")
            .detail("file", target.display().to_string()));
    }
    if let Some(failure) = &unnamed {
        if failure.details.contains_key("older") {
            // A restore would take the other device's backup.
            let message = format!(
                "a newer backup was named while {} was made, so a restore takes that one",
                target.display()
            );
            return Err(Failure::new(Exit::Wait, message)
                .remedy("The backup is whole. Repeat the command: it makes a newer one.")
                .detail("file", target.display().to_string()));
        }
        out.warning(&not_named(failure));
    }
    let text = format!(
        "{}, {} in {}",
        count(report.packed.files, "file"),
        bytes(report.packed.bytes),
        legible::path(&target)
    );
    out.result(
        &text,
        facts([
            ("file", target.display().to_string().into()),
            ("sequence", sequence.into()),
            ("files", report.packed.files.into()),
            ("bytes", report.packed.bytes.into()),
            ("named_at_vault", (kept.mode == Mode::Password && unnamed.is_none()).into()),
            (
                "not_named",
                unnamed
                    .map(|f| json!({ "error": f.exit.word(), "message": f.message, "remedy": f.remedy }))
                    .into(),
            ),
            (
                "skipped",
                skipped
                    .iter()
                    .map(|(p, why)| json!({ "path": p.display().to_string(), "reason": why }))
                    .collect::<Vec<_>>()
                    .into(),
            ),
        ]),
    )
}

async fn name_it(
    m: MaybeOnline,
    device: &DeviceState,
    key: &bkv_client::BackupKey,
    header: &bkv_stream::Header,
) -> Outcome {
    let (client, _) = profile::client(&online(m)?, device)?;
    Ok(interruptible(client.backed_up(key, header), Sent::Name).await?.map(drop)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s29_a_device_that_is_behind_takes_a_number_above_all_that_are_known() {
        let next = |device, vault, folder: &[u64]| {
            next_sequence(device, vault, folder.iter().copied().max()).unwrap_or(0)
        };
        assert_eq!(next(None, None, &[]), 1);
        assert_eq!(next(Some(1), Some(7), &[]), 8, "the vault knows a newer backup of another device");
        assert_eq!(next(Some(9), Some(7), &[3]), 10);
        assert_eq!(next(Some(1), None, &[1, 12, 4]), 13, "the folder has a newer backup of another device");
        assert_eq!(next_sequence(Some(1), None, Some(u64::MAX)), None);
    }

    /// S29: a header that was changed, a file that is cut off, another key's backup and a pipe count for nothing.
    #[test]
    fn s29_only_an_authentic_backup_of_the_folder_sets_the_next_number() {
        let dir = tempfile::tempdir().unwrap();
        let (source, to) = (dir.path().join("source"), dir.path().join("cloud"));
        std::fs::create_dir(&source).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(source.join("file"), b"content").unwrap();
        let (key, other) = (BackupKey::generate().unwrap(), BackupKey::generate().unwrap());
        let backup = |key: &BackupKey, number: u64, name: &str| {
            let manifest = Manifest::new([1; 32], [2; 16], number, 0);
            let cancel = bkv_stream::Cancel::default();
            let control = Control {
                progress: &Progress::new(Output { json: false, quiet: true }, "", None),
                cancel: &cancel,
            };
            let options = PackOptions { skip_unreadable: false, replace: false, leave_out: Vec::new() };
            backup_folder(&source, &to.join(name), key, manifest, 1, &options, control).unwrap();
        };
        let number = 0x1a2b_3c4d_u32;
        backup(&key, number.into(), "own.bkv");
        backup(&other, u64::from(number) + 9, "other.bkv");
        let honest = std::fs::read(to.join("own.bkv")).unwrap();
        let at = honest.windows(4).position(|w| w == number.to_be_bytes()).unwrap();
        let mut forged = honest.clone();
        forged[at..at + 4].copy_from_slice(&(number + 1).to_be_bytes());
        std::fs::write(to.join("forged.bkv"), &forged).unwrap();
        std::fs::write(to.join("cut.bkv"), &forged[..honest.len() / 2]).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            to.join("pipe.bkv"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert_eq!(highest_in(&to, &key), Some(u64::from(number)));
    }
}
