//! What `bkv recover` shares with other commands: asks for the password, recovers the key, keeps it on this device.

use bkv_client::{
    Client, FileLastTry, KeepLastTry as _, LastTry, LastTryWarning, MemoryError, Note, RecoverOptions,
    Recovered, Runtime,
};
use zeroize::Zeroizing;

use crate::args::PasswordSource;
use crate::device::{DeviceState, Kept, Mode};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::secret_input::{self, Source};
use crate::signals::{Handled, Sent, interruptible};

/// Asks before the last try is used. `--yes` answers in advance.
fn ask_last_try(_: &LastTryWarning) -> bool {
    secret_input::confirm(
        "Only one try is left. If this password is wrong, the key is destroyed for good. Use it?",
    )
}

pub(crate) fn options(yes: bool, keep: &FileLastTry) -> RecoverOptions<'_> {
    let last_try = if yes { LastTry::Use } else { LastTry::Ask(&ask_last_try) };
    RecoverOptions { last_try, keep: Some(keep), ..RecoverOptions::default() }
}

pub(crate) fn ask_password(source: &PasswordSource, what: &str, twice: bool) -> Outcome<Zeroizing<String>> {
    secret_input::read(Source { file: source.password_file.as_deref(), fd: source.password_fd }, what, twice)
}

pub(crate) fn series(runtime: &Runtime) -> [u8; 16] {
    let mut bytes = [0; 16];
    runtime.random.fill(&mut bytes);
    bytes
}

/// Recovers the key and keeps it on this device. `known` is what the device holds, checked to be this account's.
pub(crate) async fn fetch(
    out: Output,
    client: &Client,
    runtime: &Runtime,
    device: &DeviceState,
    known: Option<Kept>,
    password: &str,
    yes: bool,
) -> Outcome<Recovered> {
    let keep = device.last_try();
    // From here on a signal must not end the process before the key is in the state.
    let _handled = Handled::new();
    let attempt = interruptible(client.recover(password, options(yes, &keep)), Sent::Try);
    let mut recovered = attempt.await?.map_err(failed)?;
    let lineage = client.trusted().await?.admission().lineage.0;
    let same = match &known {
        Some(kept) => kept.account()? == recovered.account.0 && kept.key()? == recovered.key,
        None => false,
    };
    let kept = match known {
        Some(kept) if same => kept,
        _ => {
            // Another device has registered the account again since. Backups that this device made before need the old key.
            if let Some(folder) = device.put_aside()? {
                out.note(&format!(
                    "The vault has a newer key than this device had; the old one is kept: --state {} reads its backups.",
                    folder.display()
                ));
            }
            Kept::new(Mode::Password, &recovered.key, &recovered.account.0, &lineage, series(runtime))
        }
    };
    device.save(&kept)?;
    notes(out, &recovered);
    count(out, client, &mut recovered, &keep).await?;
    Ok(recovered)
}

/// The device has stored the key by now, so an error here is only reported. A signal ends the command.
async fn count(out: Output, client: &Client, recovered: &mut Recovered, keep: &FileLastTry) -> Outcome {
    let Some(uncounted) = &mut recovered.uncounted else { return Ok(()) };
    let counted = interruptible(client.count(uncounted, recovered.time_left), Sent::Count).await;
    recovered.named = uncounted.named.take().or(recovered.named.take());
    if let Some(e) = uncounted.not_remembered.take() {
        not_remembered(out, &e);
    }
    match counted.and_then(|counted| counted.map_err(Failure::from)) {
        Ok(()) => {
            recovered.uncounted = None;
            not_wiped(out, keep.wipe().err());
        }
        Err(e) if e.exit == Exit::Interrupted => return Err(e),
        Err(e) => out.warning(&format!(
            "Too few regions have signed that your tries are back ({e}). Run `bkv status`. If this try was counted as failed, run `bkv recover` again.",
        )),
    }
    Ok(())
}

/// A wrong last try ends with the exit code of a destroyed key, which matters more than the wrong password.
pub(crate) fn failed(e: bkv_client::Error) -> Failure {
    let last = matches!(e, bkv_client::Error::WrongPassword { tries_left: 0, .. });
    let failure = Failure::from(e);
    if last { Failure { exit: Exit::Gone, ..failure } } else { failure }
}

fn not_wiped(out: Output, e: Option<MemoryError>) {
    if let Some(e) = e {
        out.warning(&format!(
            "What this device kept of the last try could not be wiped ({e}): remove the file."
        ));
    }
}

fn not_remembered(out: Output, e: &MemoryError) {
    out.warning(&format!("Which backup is the newest could not be kept: {e}."));
}

fn notes(out: Output, recovered: &Recovered) {
    for note in &recovered.notes {
        match note {
            Note::Wrong(w) => out.warning(&format!(
                "Region {} {}; another was used. Tell the fleet's operator.",
                w.region, w.what
            )),
            Note::LastTryNotWiped(e) => not_wiped(out, Some(e.clone())),
            Note::Renewed(_) => out.note("The registration was renewed."),
            Note::RenewalFailed(e) => out.warning(&format!("The registration could not be renewed: {e}.")),
            Note::NotRemembered(e) => not_remembered(out, e),
        }
    }
}
