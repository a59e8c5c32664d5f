//! `bkv recover`.

use clap::Args;

use super::fetch::{ask_password, fetch};
use super::{last_try, ownership, saved};
use crate::args::{Online, PasswordSource};
use crate::device::DeviceState;
use crate::exit::{Exit, Outcome};
use crate::output::{Output, facts};
use crate::profile;

#[derive(Debug, Args)]
pub(crate) struct Recover {
    #[command(flatten)]
    pub online: Online,
    #[command(flatten)]
    pub password: PasswordSource,
    /// Use the last try without asking. If the password is wrong, the key is destroyed.
    #[arg(long)]
    pub yes: bool,
    /// Rename `last-try.json` in the device's state and go on without it: if it is broken, or if this device can't go on with its last try. If that try is
    /// open, the key is destroyed at its deadline, unless the file is put back or another device that has the key sets a new password before.
    #[arg(long)]
    pub set_aside_last_try: bool,
}

pub(crate) async fn recover(out: Output, a: Recover) -> Outcome {
    let device = DeviceState::open_for_key_change(&a.online.device)?;
    if a.set_aside_last_try {
        last_try::set_aside(out, &device)?;
    }
    last_try::open(&device)?;
    let known = device.load()?;
    let ended = run(out, a, &device).await.map_err(|failure| saved::advise(failure, known.as_ref()));
    ended.map_err(|failure| last_try::remind(failure, &device))
}

async fn run(out: Output, a: Recover, device: &DeviceState) -> Outcome {
    let known = device.load()?;
    ownership::not_digits(known.as_ref(), "recovering would write another key over it")?;
    let (client, runtime) = profile::client(&a.online, device)?;
    if let Some(kept) = &known {
        ownership::same_account(&client, kept, Exit::OtherAccount).await?;
    }
    let password = ask_password(&a.password, "password", false)?;
    let recovered = fetch(out, &client, &runtime, device, known, &password, a.yes).await?;
    let counted = recovered.uncounted.is_none();
    let text = if counted {
        "Recovered: the key is on this device, and all tries are back."
    } else {
        "Recovered: the key is on this device."
    };
    out.result(
        text,
        facts([
            ("recovered", true.into()),
            ("tries_back", counted.into()),
            ("lifetime_failures", recovered.lifetime_failures.into()),
            ("newest_backup", recovered.newest_file().map(|newest| newest.counter).into()),
        ]),
    )
}
