//! `bkv recover`, and its parts that other commands use: ask for the password, fetch the key, keep the key.

use bkv_client::{Client, LastTry, LastTryWarning, Note, RecoverOptions, Recovered, Runtime};
use zeroize::Zeroizing;

use super::ownership;
use crate::args::{PasswordSource, Recover};
use crate::device::{DeviceState, Kept, Mode};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::profile;
use crate::secret_input::{self, Source};

/// Asks before the last try is used. `--yes` answers in advance.
fn ask_last_try(_: &LastTryWarning) -> bool {
    secret_input::confirm(
        "Only one try is left. If this password is wrong, the key is destroyed for good. Use it?",
    )
}

pub(crate) fn options(yes: bool) -> RecoverOptions<'static> {
    let last_try = if yes { LastTry::Use } else { LastTry::Ask(&ask_last_try) };
    RecoverOptions { last_try, ..RecoverOptions::default() }
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
    let recovered = client.recover(password, options(yes)).await.map_err(destroyed)?;
    let lineage = client.trusted().await?.admission().lineage.0;
    let same = match &known {
        Some(kept) => kept.account()? == recovered.account.0 && kept.key()? == recovered.key,
        None => false,
    };
    let kept = match known {
        Some(kept) if same => kept,
        _ => {
            // Registered anew elsewhere since: what was backed up here before is under the old key.
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
    Ok(recovered)
}

/// A wrong last try ends with the exit code of a destroyed key, which matters more than the wrong password.
pub(crate) fn destroyed(e: bkv_client::Error) -> Failure {
    let last = matches!(e, bkv_client::Error::WrongPassword { tries_left: 0, .. });
    let failure = Failure::from(e);
    if last { Failure { exit: Exit::Gone, ..failure } } else { failure }
}

fn notes(out: Output, recovered: &Recovered) {
    for note in &recovered.notes {
        match note {
            Note::Wrong(w) => out.note(&format!(
                "Region {} {}; another was used. Tell the fleet's operator.",
                w.region, w.what
            )),
            Note::Renewed(_) => out.note("The registration was renewed."),
            Note::RenewalFailed(e) => out.note(&format!("The registration could not be renewed: {e}.")),
            Note::NotRemembered(e) => {
                out.note(&format!("Which backup is the newest could not be kept: {e}."));
            }
        }
    }
}

pub(crate) async fn recover(out: Output, a: Recover) -> Outcome {
    let device = DeviceState::open_for_writing(&a.online.device)?;
    let known = device.load()?;
    ownership::not_digits(known.as_ref(), "recovering would write another key over it")?;
    let (client, runtime) = profile::client(&a.online, &device)?;
    if let Some(kept) = &known {
        ownership::same_account(&client, kept, Exit::CantCreate).await?;
    }
    let password = ask_password(&a.password, "password", false)?;
    let recovered = fetch(out, &client, &runtime, &device, known, &password, a.yes).await?;
    out.result(
        "Recovered: the key is on this device, and all tries are back.",
        facts([
            ("recovered", true.into()),
            ("lifetime_failures", recovered.lifetime_failures.into()),
            ("newest_backup", recovered.manifest.map(|m| m.sequence).into()),
        ]),
    );
    Ok(())
}
