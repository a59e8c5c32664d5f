//! `bkv restore` of single files: takes the key from this device or by password, and unpacks the newest backup of a folder. Nothing appears at the destination
//! before all of it is verified. Checks come in the order of their cost: what this device can check alone, what the vault answers without a try, then the try.

use std::path::Path;

use bkv_backups::format::Id;
use bkv_client::backup::{expect, newest};
use bkv_client::{AccountId, BackupKey, Error, Lineage, Recovered, State, Status, WriterId};
use bkv_stream::archive::{check_destination, clear_leftovers, restore_folder};
use bkv_stream::{Control, Expect, Known, Options};
use serde_json::Value;

use super::candidates::{Chosen, Found, find};
use super::connection::{ASK, online};
use super::fetch::{ask_password, fetch};
use super::interrupt::cancellable;
use super::series_restore::Restore;
use super::{last_try, ownership};
use crate::args::{MaybeOnline, Online};
use crate::backups::report_not_here;
use crate::device::{DeviceState, Kept, Mode};
use crate::exit::{Exit, Failure, Outcome};
use crate::legible;
use crate::output::{Output, facts};
use crate::profile;
use crate::progress::{Progress, bytes};
use crate::words::count;

/// What is restored, and with what.
struct Ready {
    key: BackupKey,
    expect: Expect,
    chosen: Chosen,
}

/// `not_here` are writers that the vault names and that have no series in the folder.
pub(crate) async fn run(out: Output, a: Restore, not_here: Vec<Id>) -> Outcome {
    let device = DeviceState::open(&a.online.device)?;
    let kept = device.load()?;
    has_parent(&a.to)?;
    for folder in clear_leftovers(&a.to) {
        report_leftover(out, &folder);
    }
    check_destination(&a.to)?;
    let found = find(&a.from)?;
    let (to, is_folder) = (a.to.clone(), a.from.is_dir());
    let ready = match kept {
        Some(kept) => (with_key(out, a, &device, &kept, &found).await?, not_here),
        None => with_password(out, a, &found).await?,
    };
    let (ready, not_here) = ready;
    let not_here = if is_folder { report_not_here(out, &not_here) } else { Value::Array(Vec::new()) };
    for (path, whose) in &ready.chosen.passed_over {
        out.note(&format!("passed over: {}: {whose}", path.display()));
    }
    let file = ready.chosen.file.clone();
    let length = std::fs::metadata(&file).ok().map(|m| m.len());
    let progress = Progress::new(out, "Restoring", length);
    let restored = cancellable(move |cancel| {
        let control = Control { progress: &progress, cancel };
        let Ready { key, expect, chosen } = ready;
        let restored = restore_folder(&chosen.file, &to, &key, &expect, Options::default().workers, control);
        progress.end();
        restored
    });
    let report = restored.await??;
    let sequence = report.header.manifest().sequence;
    if let Err(e) = remember(&device, Known { sequence, hash: *report.header.hash() }) {
        // The restore itself has succeeded.
        out.warning(&format!("This device could not remember which backup is the newest: {e}"));
    }
    let text = format!(
        "{}, {} from {}",
        count(report.unpacked.files, "file"),
        bytes(report.unpacked.bytes),
        legible::path(&file)
    );
    out.result(
        &text,
        facts([
            ("file", file.display().to_string().into()),
            ("sequence", sequence.into()),
            ("files", report.unpacked.files.into()),
            ("bytes", report.unpacked.bytes.into()),
            ("not_here", not_here),
        ]),
    )
}

pub(super) fn report_leftover(out: Output, folder: &Path) {
    out.note(&format!("Removed {}: a restore that was killed had left it.", folder.display()));
}

/// Fails if the folder that the destination lies in does not exist.
pub(super) fn has_parent(to: &Path) -> Outcome {
    let parent = to.parent().filter(|p| !p.as_os_str().is_empty());
    match parent.map(std::fs::metadata) {
        Some(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => {
            let parent = parent.unwrap_or(to).display();
            Err(Failure::new(
                Exit::CantCreate,
                format!("can't restore to {}: there is no folder {parent}", to.display()),
            )
            .remedy("Make that folder first, or check the path. Nothing was written, and no try was spent."))
        }
        _ => Ok(()),
    }
}

/// Remembers the restored backup for this device's key, unless the device has seen another of this number or a newer one.
fn remember(device: &DeviceState, restored: Known) -> Outcome {
    let Some(kept) = device.load()? else { return Ok(()) };
    let newest = device.newest(&kept)?;
    if newest.is_some_and(|newest| newest.sequence >= restored.sequence) {
        return Ok(());
    }
    device.saw(&kept, restored)
}

/// The key is on this device. The vault may know of a newer backup than this device has seen, so the command asks
/// it if the options allow that.
async fn with_key(
    out: Output,
    a: Restore,
    device: &DeviceState,
    kept: &Kept,
    found: &Found,
) -> Outcome<Ready> {
    let key = kept.key()?;
    let known = device.newest(kept)?;
    let mut must = match kept.mode {
        // With digits only the key identifies the owner: the backup may come from a device that had the key under a password, and a typo must be reported as a wrong key.
        Mode::Digits => Expect { known, ..Expect::default() },
        Mode::Password => expect(&Lineage(kept.lineage()?), &AccountId(kept.account()?), known),
    };
    if kept.mode == Mode::Password
        && let Some(online) = given(&a.online)
    {
        match ask_newest(&online, device, kept).await? {
            Ok(named) if named.is_some_and(|n| known.is_none_or(|k| n.sequence > k.sequence)) => must.known = named,
            Ok(_) => {}
            Err(e) => out.warning(&format!(
                "The vault could not be asked which backup is the newest ({e}): only what this device has seen is known."
            )),
        }
    }
    if must.known.is_none() {
        out.warning("This device has not seen a backup yet: if an older one is served, nobody can notice.");
    }
    if a.allow_older {
        must.known = None;
    }
    let chosen = found.choose(&must, Some(&key))?;
    must.check(&chosen.header)?;
    Ok(Ready { key, expect: must, chosen })
}

/// The online options, if both were given. The deadline is short, since a restore goes on without an answer.
fn given(m: &MaybeOnline) -> Option<Online> {
    Some(Online {
        fleet: m.fleet.clone()?,
        token: m.token.clone()?,
        device: m.device.clone(),
        timeout: m.timeout.min(ASK.as_secs()),
    })
}

/// The newest backup that the vault names. After the inner error the restore goes on without an answer.
async fn ask_newest(
    online: &Online,
    device: &DeviceState,
    kept: &Kept,
) -> Outcome<Result<Option<Known>, Error>> {
    let (client, _) = profile::client(online, device)?;
    let status = match client.quick_status().await {
        Ok(status) => status,
        Err(e) => return Ok(Err(e)),
    };
    let lineage = client.trusted().await?.admission().lineage;
    ownership::check(kept, &status.account, &lineage, Exit::OtherAccount)?;
    Ok(Ok(newest(status.newest_file(), None)))
}

/// The key is in the vault. Reading the account costs no try, so ask first which backups can exist.
async fn with_password(out: Output, a: Restore, found: &Found) -> Outcome<(Ready, Vec<Id>)> {
    let known = |named, before| if a.allow_older { None } else { newest(named, before) };
    let (recovered, lineage, before) = recover(out, &a, |status, lineage| {
        let before = expect(lineage, &status.account, known(status.newest_file(), None));
        before.check(&found.choose(&before, None)?.header)?;
        let series = status.writers.iter().map(|writer| writer.id).filter(|id| *id != WriterId::FILES);
        Ok((before.known, series.map(|id| id.0).collect()))
    })
    .await?;
    let (before, named) = before;
    let must = expect(&lineage, &recovered.account, known(recovered.newest_file(), before));
    let chosen = found.choose(&must, Some(&recovered.key))?;
    must.check(&chosen.header)?;
    Ok((Ready { key: recovered.key, expect: must, chosen }, named))
}

/// Gets the key by password. `check` looks at what is to be restored before a try is spent.
pub(super) async fn recover<T>(
    out: Output,
    a: &Restore,
    check: impl FnOnce(&Status, &Lineage) -> Outcome<T>,
) -> Outcome<(Recovered, Lineage, T)> {
    let device = DeviceState::open_for_key_change(&a.online.device)?;
    last_try::open(&device)?;
    recover_key(out, a, check, &device).await.map_err(|failure| last_try::remind(failure, &device))
}

async fn recover_key<T>(
    out: Output,
    a: &Restore,
    check: impl FnOnce(&Status, &Lineage) -> Outcome<T>,
    device: &DeviceState,
) -> Outcome<(Recovered, Lineage, T)> {
    let online = online(a.online.clone())?;
    let (client, runtime) = profile::client(&online, device)?;
    let lineage = client.trusted().await?.admission().lineage;
    let status = client.quick_status().await?;
    match status.state {
        State::None => return Err(Error::NoKey.into()),
        State::Deleted => return Err(Error::Deleted.into()),
        State::Destroyed => return Err(Error::Destroyed.into()),
        State::Live | State::LastTry | State::Locked => {}
    }
    let checked = check(&status, &lineage)?;
    let password = ask_password(&a.password, "password", false)?;
    // Another command may have put a key here since this one began.
    let present = device.load()?;
    ownership::not_digits(present.as_ref(), "recovering would write another key over it")?;
    if let Some(kept) = &present {
        ownership::check(kept, &status.account, &lineage, Exit::OtherAccount)?;
    }
    let recovered = fetch(out, &client, &runtime, device, present, &password, a.yes).await?;
    Ok((recovered, lineage, checked))
}
