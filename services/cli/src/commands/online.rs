//! Commands that talk to the vault: register, recover, status, password, delete.

use bkv_client::{
    Client, LastTry, LastTryWarning, Note, RecoverOptions, Recovered, RegisterOptions, Runtime, State,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::args::{Delete, Online, PasswordCommand, PasswordSource, Recover, Register};
use crate::device::{DeviceState, Kept, Mode};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::profile;
use crate::secret_input::{self, Source};

/// Asks before the last try is used; `--yes` says so beforehand.
pub(crate) fn ask_last_try(_: &LastTryWarning) -> bool {
    secret_input::confirm(
        "Only one try is left. If this password is wrong, the key is destroyed for good. Use it?",
    )
}

pub(crate) fn options(yes: bool) -> RecoverOptions<'static> {
    let last_try = if yes { LastTry::Use } else { LastTry::Ask(&ask_last_try) };
    RecoverOptions { last_try, ..RecoverOptions::default() }
}

fn ask_password(source: &PasswordSource, what: &str, twice: bool) -> Outcome<Zeroizing<String>> {
    secret_input::read(Source { file: source.password_file.as_deref(), fd: source.password_fd }, what, twice)
}

fn series(runtime: &Runtime) -> [u8; 16] {
    let mut bytes = [0; 16];
    runtime.random.fill(&mut bytes);
    bytes
}

pub(crate) async fn register(out: Output, a: Register) -> Outcome {
    let device = DeviceState::open(&a.online.device)?;
    let known = device.load()?;
    let (client, runtime) = profile::client(&a.online, &device)?;
    let password = ask_password(&a.password, "password", true)?;
    // A device that has the key lays the same one under the new password: its old backups stay readable.
    let key = known.as_ref().map(Kept::key).transpose()?;
    let options = RegisterOptions { key: key.as_ref(), ..RegisterOptions::default() };
    let done = match client.register(&password, options).await {
        // The device's key is of a registration that is gone: a fresh one starts with a fresh key.
        Err(bkv_client::Error::NotOwner) => client.register(&password, RegisterOptions::default()).await?,
        other => other?,
    };
    let lineage = client.trusted().await?.admission().lineage.0;
    let kept = match known {
        Some(kept) if kept.account()? == done.account.0 && kept.key()? == done.key => kept,
        _ => Kept::new(Mode::Password, &done.key, &done.account.0, &lineage, series(&runtime)),
    };
    device.save(&kept)?;
    for region in &done.not_acknowledged {
        out.note(&format!("Region {region} has not stored it yet; the others have, and that is enough."));
    }
    out.result(
        "Registered. The key lies in the vault under your password, and on this device.",
        facts([
            ("registered", true.into()),
            ("generation", done.generation.0.into()),
            ("receipt", json!({ "region": done.receipt.region, "index": done.receipt.index })),
            ("not_acknowledged", done.not_acknowledged.into()),
        ]),
    );
    Ok(())
}

/// Recovers the key and keeps it on this device.
pub(crate) async fn fetch(
    client: &Client,
    runtime: &Runtime,
    device: &DeviceState,
    password: &str,
    yes: bool,
) -> Outcome<Recovered> {
    let recovered = client.recover(password, options(yes)).await.map_err(destroyed)?;
    let lineage = client.trusted().await?.admission().lineage.0;
    let known = device.load()?.filter(|k| k.account().is_ok_and(|a| a == recovered.account.0));
    let kept = match known {
        Some(kept) if kept.key()? == recovered.key => kept,
        _ => Kept::new(Mode::Password, &recovered.key, &recovered.account.0, &lineage, series(runtime)),
    };
    device.save(&kept)?;
    Ok(recovered)
}

/// A wrong last try has destroyed the key: that is the news, not that the password was wrong.
fn destroyed(e: bkv_client::Error) -> Failure {
    match e {
        bkv_client::Error::WrongPassword { tries_left: 0, .. } => bkv_client::Error::Destroyed.into(),
        e => e.into(),
    }
}

pub(crate) fn notes(out: Output, recovered: &Recovered) {
    for note in &recovered.notes {
        match note {
            Note::Wrong(w) => out.note(&format!(
                "Region {} {}; another was used. Tell the fleet's operator.",
                w.region, w.what
            )),
            Note::Renewed(_) => out.note("The registration was renewed."),
            Note::RenewalFailed(e) => out.note(&format!("The registration could not be renewed: {e}.")),
        }
    }
}

pub(crate) async fn recover(out: Output, a: Recover) -> Outcome {
    let device = DeviceState::open(&a.online.device)?;
    let (client, runtime) = profile::client(&a.online, &device)?;
    let password = ask_password(&a.password, "password", false)?;
    let recovered = fetch(&client, &runtime, &device, &password, a.yes).await?;
    notes(out, &recovered);
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

fn word(state: State) -> &'static str {
    match state {
        State::None => "no key",
        State::Live => "live",
        State::LastTry => "last try open",
        State::Locked => "locked",
        State::Destroyed => "destroyed",
        State::Deleted => "deleted",
    }
}

pub(crate) async fn status(out: Output, a: Online) -> Outcome {
    let device = DeviceState::open(&a.device)?;
    let (client, _) = profile::client(&a, &device)?;
    let s = client.status().await?;
    let agreeing: Vec<String> = s.agreeing.iter().map(|r| r.region.clone()).collect();
    let differing: Vec<String> = s.differing.iter().map(|r| r.region.clone()).collect();
    let mut lines = vec![
        format!("key          {}", word(s.state)),
        format!("tries left   {}", s.tries_left),
        format!("failures     {} since it was registered", s.lifetime_failures),
    ];
    if let Some(m) = s.manifest {
        lines.push(format!("newest       backup {}", m.sequence));
    }
    lines.push(format!("signed by    {}", agreeing.join(", ")));
    for (what, who) in [("differing", &differing), ("silent", &s.silent)] {
        if !who.is_empty() {
            lines.push(format!("{what:<12} {}", who.join(", ")));
        }
    }
    if s.development {
        lines.push("A development fleet: its root lies in the clear on a disk. It protects nobody.".into());
    }
    let regions: Vec<Value> =
        s.agreeing.iter().map(|r| json!({ "name": r.region, "index": r.says.index })).collect();
    out.result(
        &lines.join("\n"),
        facts([
            ("state", word(s.state).into()),
            ("tries_left", s.tries_left.into()),
            ("next_allowed_ms", s.next_allowed.0.into()),
            ("generation", s.generation.0.into()),
            ("lifetime_failures", s.lifetime_failures.into()),
            ("newest_backup", s.manifest.map(|m| m.sequence).into()),
            ("regions", regions.into()),
            ("differing", differing.into()),
            ("silent", s.silent.into()),
            ("clock_offset_ms", s.clock_offset_ms.into()),
            ("development", s.development.into()),
        ]),
    );
    Ok(())
}

pub(crate) async fn password(out: Output, a: PasswordCommand) -> Outcome {
    let PasswordCommand::Change { online, password: old, new_password_file, new_password_fd } = a;
    let device = DeviceState::open(&online.device)?;
    let (client, runtime) = profile::client(&online, &device)?;
    let old = ask_password(&old, "old password", false)?;
    let new = secret_input::read(
        Source { file: new_password_file.as_deref(), fd: new_password_fd },
        "new password",
        true,
    )?;
    let done = client.change_password(&old, &new, &[], options(false)).await.map_err(destroyed)?;
    let lineage = client.trusted().await?.admission().lineage.0;
    if device.load()?.is_none() {
        device.save(&Kept::new(Mode::Password, &done.key, &done.account.0, &lineage, series(&runtime)))?;
    }
    out.result(
        "The password is changed; the key and its backups stay the same.",
        facts([("changed", true.into()), ("generation", done.generation.0.into())]),
    );
    Ok(())
}

pub(crate) async fn delete(out: Output, a: Delete) -> Outcome {
    let device = DeviceState::open(&a.online.device)?;
    let kept = device.require()?;
    if !a.yes
        && !secret_input::confirm(
            "Remove the key from the vault for good? Backups can then only be read by a device that has the key.",
        )
    {
        return Err(
            Failure::new(Exit::NoInput, "not confirmed").remedy("Add --yes to delete without being asked.")
        );
    }
    let (client, _) = profile::client(&a.online, &device)?;
    client.delete(&kept.key()?).await?;
    out.result("Deleted from the vault. This device still has the key.", facts([("deleted", true.into())]));
    Ok(())
}
