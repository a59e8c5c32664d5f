//! `bkv backup`: a folder into one encrypted file of the cloud folder, then the newest backup's name to the vault.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bkv_stream::archive::{Identity, PackOptions, backup_folder};
use bkv_stream::{Compression, Control, Known, Manifest, Options};
use clap::Args;
use serde_json::json;

use super::connection::{ASK, online};
use super::interrupt::cancellable;
use super::ownership;
use crate::args::MaybeOnline;
use crate::device::{DeviceState, Kept, Mode};
use crate::exit::{Exit, Failure, Outcome};
use crate::failure::now_ms;
use crate::output::{Output, facts};
use crate::profile;
use crate::progress::{Progress, bytes};
use crate::words::count;

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Folder to back up.
    pub source: PathBuf,
    /// Folder to put the backup into.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Name of the backup series. [default: the source's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Compress with zstd before encrypting.
    #[arg(long)]
    pub compress: bool,
    /// Leave out files that can't be read, and list them, instead of stopping.
    #[arg(long)]
    pub skip_unreadable: bool,
    #[command(flatten)]
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

/// A backup under a password names the account, so the access token must be of that account. If no vault answers, the backup is made all the same.
async fn same_account(m: &MaybeOnline, device: &DeviceState, kept: &Kept) -> Outcome {
    let mut m = m.clone();
    m.timeout = m.timeout.min(ASK.as_secs());
    let (Some(_), Some(_), Mode::Password) = (&m.fleet, &m.token, kept.mode) else { return Ok(()) };
    let (client, _) = profile::client(&online(m)?, device)?;
    match client.account().await {
        Ok((account, lineage)) => ownership::check(kept, &account, &lineage, Exit::OtherAccount),
        Err(_) => Ok(()), // naming the backup at the end reports the reason
    }
}

pub(crate) async fn run(out: Output, a: Backup) -> Outcome {
    let device = DeviceState::open_for_writing(&a.online.device)?;
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
    if !a.to.is_dir() {
        return Err(Failure::new(Exit::CantCreate, format!("{} is not a folder", a.to.display()))
            .remedy("Make it first, or check the path."));
    }
    same_account(&a.online, &device, &kept).await?;
    let now = now_ms();
    let mut sequence = device.newest(&kept)?.map_or(1, |newest| newest.sequence.saturating_add(1));
    let named = |sequence: u64| a.to.join(format!("{name}-{sequence:06}.bkv"));
    // This device may not know the number of an existing backup, after a crash or because of another device of that name. Never overwrite that file.
    while std::fs::symlink_metadata(named(sequence)).is_ok() {
        sequence = sequence.saturating_add(1);
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
    let mut named = false;
    if kept.mode == Mode::Password {
        // The backup is complete even if no vault can record it now.
        match name_it(a.online, &device, &kept.key()?, &report.header).await {
            Ok(()) => named = true,
            Err(e) => out.warning(&format!(
                "The backup is whole, but the vault does not know of it yet ({}). The next one will tell it.",
                e.message
            )),
        }
    }
    let text = format!(
        "{}, {} in {}",
        count(report.packed.files, "file"),
        bytes(report.packed.bytes),
        target.display()
    );
    out.result(
        &text,
        facts([
            ("file", target.display().to_string().into()),
            ("sequence", sequence.into()),
            ("files", report.packed.files.into()),
            ("bytes", report.packed.bytes.into()),
            ("named_at_vault", named.into()),
            (
                "skipped",
                skipped
                    .iter()
                    .map(|(p, why)| json!({ "path": p.display().to_string(), "reason": why }))
                    .collect::<Vec<_>>()
                    .into(),
            ),
        ]),
    );
    Ok(())
}

async fn name_it(
    m: MaybeOnline,
    device: &DeviceState,
    key: &bkv_client::BackupKey,
    header: &bkv_stream::Header,
) -> Outcome {
    let (client, _) = profile::client(&online(m)?, device)?;
    client.backed_up(key, header).await?;
    Ok(())
}
