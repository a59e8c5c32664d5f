//! `bkv restore`: the key from this device or by password, the newest backup of the folder, nothing at the destination before all is proved.

use std::fs::File;
use std::path::{Path, PathBuf};

use bkv_client::backup::newest;
use bkv_client::{BackupKey, Remembered};
use bkv_stream::archive::restore_folder;
use bkv_stream::{Control, Expect, Known, Options, inspect as read_header};

use super::backup::{cancel_on_interrupt, online};
use super::online::{fetch, notes};
use crate::args::Restore;
use crate::device::{DeviceState, Mode};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::profile;
use crate::progress::{Progress, bytes};
use crate::secret_input::{self, Source};

/// What must be known to restore.
struct Secrets {
    key: BackupKey,
    expect: Expect,
}

pub(crate) async fn run(out: Output, a: Restore) -> Outcome {
    let device = DeviceState::open(&a.online.device)?;
    let file = if a.from.is_dir() { newest_in(&a.from)? } else { a.from.clone() };
    let (to, allow_older) = (a.to.clone(), a.allow_older);
    let mut secrets = secrets(out, a, &device).await?;
    if allow_older {
        secrets.expect.known = None;
    }
    let length = std::fs::metadata(&file).ok().map(|m| m.len());
    let progress = Progress::new(out, "Restoring", length);
    let cancel = cancel_on_interrupt();
    let source = file.clone();
    let restored = tokio::task::spawn_blocking(move || {
        let control = Control { progress: &progress, cancel: &cancel };
        let restored =
            restore_folder(&source, &to, &secrets.key, &secrets.expect, Options::default().workers, control);
        progress.end();
        restored
    });
    let report = restored.await.map_err(|e| Failure::new(Exit::Unexpected, e.to_string()))??;
    if let Some(mut kept) = device.load()?
        && report.header.manifest().sequence > kept.sequence
    {
        kept.sequence = report.header.manifest().sequence;
        kept.hash = hex::encode(report.header.hash());
        device.save(&kept)?;
    }
    let text =
        format!("{} files, {} from {}", report.unpacked.files, bytes(report.unpacked.bytes), file.display());
    out.result(
        &text,
        facts([
            ("file", file.display().to_string().into()),
            ("sequence", report.header.manifest().sequence.into()),
            ("files", report.unpacked.files.into()),
            ("bytes", report.unpacked.bytes.into()),
        ]),
    );
    Ok(())
}

async fn secrets(out: Output, a: Restore, device: &DeviceState) -> Outcome<Secrets> {
    if let Some(kept) = device.load()? {
        let known = kept.newest().map(|(sequence, hash)| Known { sequence, hash });
        if known.is_none() && kept.mode == Mode::Digits {
            out.note("This device has not seen a backup yet: if an older one is served, nobody can notice.");
        }
        // With digits the key alone says whose a backup is: it may come from a device that had it under a password, and a typo must show as a wrong key.
        let expect = match kept.mode {
            Mode::Digits => Expect { known, ..Expect::default() },
            Mode::Password => Expect {
                lineage: Some(kept.lineage()?),
                account: Some(kept.account()?),
                known,
                ..Expect::default()
            },
        };
        return Ok(Secrets { key: kept.key()?, expect });
    }
    let (source, yes) = (a.password, a.yes);
    let online = online(a.online)?;
    let (client, runtime) = profile::client(&online, device)?;
    let password = secret_input::read(
        Source { file: source.password_file.as_deref(), fd: source.password_fd },
        "password",
        false,
    )?;
    let recovered = fetch(&client, &runtime, device, &password, yes).await?;
    notes(out, &recovered);
    let lineage = client.trusted().await?.admission().lineage;
    let known = newest(recovered.manifest, &Remembered::default());
    let expect = bkv_client::backup::expect(&lineage, &recovered.account, known);
    Ok(Secrets { key: recovered.key, expect })
}

/// The file with the highest sequence in its header. Headers are not proved yet; that comes when the file is opened.
fn newest_in(folder: &Path) -> Outcome<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .map_err(|e| Failure::new(Exit::NoInput, format!("can't read {}: {e}", folder.display())))?;
    let mut best: Option<(u64, PathBuf)> = None;
    let mut unreadable = Vec::new();
    for path in entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "bkv")) {
        let header = File::open(&path).ok().and_then(|mut f| read_header(&mut f).ok());
        let Some(header) = header else {
            unreadable.push(path.display().to_string());
            continue;
        };
        let sequence = header.manifest().sequence;
        if best.as_ref().is_none_or(|(s, _)| sequence > *s) {
            best = Some((sequence, path));
        }
    }
    if let Some((_, path)) = best {
        return Ok(path);
    }
    if !unreadable.is_empty() {
        return Err(Failure::new(
            Exit::Damaged,
            format!("no backup in {} has a header that reads: {}", folder.display(), unreadable.join(", ")),
        )
        .remedy("Fetch them again; nothing was written."));
    }
    Err(Failure::new(Exit::NoInput, format!("no backup in {}", folder.display()))
        .remedy("Backups end in .bkv: is this the right folder?"))
}

pub(crate) fn inspect(out: Output, path: &Path) -> Outcome {
    let mut file = File::open(path)
        .map_err(|e| Failure::new(Exit::NoInput, format!("can't read {}: {e}", path.display())))?;
    let header = read_header(&mut file)?;
    let m = header.manifest();
    let text = format!(
        "sequence     {}\nbackup       {}\nmade         {} (ms since 1970)\naccount      {}\nThis header is proved only when the backup is opened with its key.",
        m.sequence,
        hex::encode(m.backup),
        m.created_ms,
        hex::encode(m.account)
    );
    out.result(
        &text,
        facts([
            ("sequence", m.sequence.into()),
            ("backup", hex::encode(m.backup).into()),
            ("created_ms", m.created_ms.into()),
            ("account", hex::encode(m.account).into()),
        ]),
    );
    Ok(())
}
