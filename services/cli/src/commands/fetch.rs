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
    let mut recovered =
        client.recover(password, options(yes, &keep)).await.map_err(|e| destroyed(e, &keep))?;
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
    count(out, client, &mut recovered, &keep).await;
    Ok(recovered)
}

/// The device has stored the key by now, so an error here is only reported.
async fn count(out: Output, client: &Client, recovered: &mut Recovered, keep: &FileLastTry) {
    let Some(uncounted) = &recovered.uncounted else { return };
    match client.count(uncounted).await {
        Ok(()) => {
            recovered.uncounted = None;
            not_wiped(out, keep.wipe().err());
        }
        Err(e) => out.note(&format!(
            "Too few regions have signed that your tries are back ({e}). Run `bkv status`. If this try was counted as failed, run `bkv recover` again.",
        )),
    }
}

/// A wrong last try ends with the exit code of a destroyed key, which matters more than the wrong password. So does a last try that is still open.
pub(crate) fn destroyed(e: bkv_client::Error, keep: &FileLastTry) -> Failure {
    use bkv_client::Error as E;
    let last = matches!(e, E::WrongPassword { tries_left: 0, .. });
    let open = matches!(e, E::Unfinished { .. } | E::VaultUnreachable(_) | E::ChatdUnreachable(_))
        && keep.load().is_ok_and(|kept| kept.is_some());
    let failure = Failure::from(e);
    match (last, open) {
        (true, _) => Failure { exit: Exit::Gone, ..failure },
        (false, true) => Failure { exit: Exit::LastTry, ..failure }.remedy(
            "This is the last try. Run this command again on this device with the same password: that is free. When the time of this try is over, the key is destroyed. Until then a device that still has the key can save it by setting a new password.",
        ),
        (false, false) => failure,
    }
}

fn not_wiped(out: Output, e: Option<MemoryError>) {
    if let Some(e) = e {
        out.note(&format!(
            "What this device kept of the last try could not be wiped ({e}): remove the file."
        ));
    }
}

fn notes(out: Output, recovered: &Recovered) {
    for note in &recovered.notes {
        match note {
            Note::Wrong(w) => out.note(&format!(
                "Region {} {}; another was used. Tell the fleet's operator.",
                w.region, w.what
            )),
            Note::LastTryNotWiped(e) => not_wiped(out, Some(e.clone())),
            Note::Renewed(_) => out.note("The registration was renewed."),
            Note::RenewalFailed(e) => out.note(&format!("The registration could not be renewed: {e}.")),
            Note::NotRemembered(e) => {
                out.note(&format!("Which backup is the newest could not be kept: {e}."));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bkv_client::{Counted, Error, Time};

    use super::*;

    fn unfinished() -> Error {
        let cause = Box::new(Error::VaultUnreachable("no answer".into()));
        Error::Unfinished { counted: Counted::Yes, cause }
    }

    /// With an open last try "try again later" would lose the key.
    #[test]
    fn an_open_last_try_has_its_own_exit_code_and_names_the_end_of_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let keep = FileLastTry::new(dir.path().join("last-try.json"));
        assert_eq!(destroyed(unfinished(), &keep).exit, Exit::Unavailable);
        let (id, long) = ("07".repeat(16), "07".repeat(32));
        let open = serde_json::json!({
            "lineage": long, "account": long, "attempt": id, "cancel": long, "secret": long,
            "ksf_memory_kib": 8, "ksf_passes": 1, "ksf_lanes": 1,
        });
        std::fs::write(keep.path(), open.to_string()).unwrap();
        let mine = destroyed(unfinished(), &keep);
        let others = destroyed(Error::LastTryOpen { until: Time(1) }, &keep);
        for failure in [mine, others, destroyed(Error::LastTryOtherPassword, &keep)] {
            assert_eq!(failure.exit, Exit::LastTry);
            assert!(failure.remedy.unwrap().contains("the key is destroyed"));
        }
        assert_eq!(destroyed(Error::Destroyed, &keep).exit, Exit::Gone);
    }
}
