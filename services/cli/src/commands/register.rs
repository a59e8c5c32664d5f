//! `bkv register`: a new key under a password. On the device that has the key, it sets a new password for that key.

use bkv_client::{Error, RegisterOptions, State};
use clap::Args;
use serde_json::json;

use super::account::not_followed;
use super::fetch::{ask_password, series};
use super::ownership;
use crate::args::{Online, PasswordSource};
use crate::device::{DeviceState, Kept, Mode};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::profile;
use crate::signals::{Handled, Sent, interruptible};

#[derive(Debug, Args)]
pub(crate) struct Register {
    #[command(flatten)]
    pub online: Online,
    #[command(flatten)]
    pub password: PasswordSource,
}

/// What a registration does, given what the vault has and what this device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// A new key.
    New,
    /// The device's own key, which the vault has too: a new password.
    Replace,
    /// The device's own key, which the vault does not have (any more).
    Again,
}

impl Deed {
    fn of(has_key: bool, state: State) -> Result<Self, Error> {
        match (has_key, state) {
            // The owner deleted this key: never store it in the vault again.
            (_, State::Deleted) | (false, State::None | State::Destroyed) => Ok(Self::New),
            (true, State::None | State::Destroyed) => Ok(Self::Again),
            (true, State::Live | State::LastTry | State::Locked) => Ok(Self::Replace),
            (false, State::Live | State::LastTry | State::Locked) => Err(Error::KeyExists),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::New => "new-key",
            Self::Replace => "password-replaced",
            Self::Again => "same-key-again",
        }
    }

    const fn told(self) -> &'static str {
        match self {
            Self::New => "Registered. A new key lies in the vault under your password, and on this device.",
            Self::Replace => {
                "Registered anew: this device's key has set the new password. The old password was not asked for, and is void; key and backups stay the same."
            }
            Self::Again => {
                "Registered again: this device's key lies in the vault under your password; its backups stay readable."
            }
        }
    }
}

pub(crate) async fn register(out: Output, a: Register) -> Outcome {
    let device = DeviceState::open_for_key_change(&a.online.device)?;
    let known = device.load()?;
    ownership::not_digits(known.as_ref(), "registering would send it to a vault")?;
    let (client, runtime) = profile::client(&a.online, &device)?;
    let lineage = client.trusted().await?.admission().lineage;
    let status = client.quick_status().await?;
    if let Some(kept) = &known {
        ownership::check(kept, &status.account, &lineage, Exit::OtherAccount)?;
    }
    let deed = Deed::of(known.is_some(), status.state)?;
    let password = ask_password(&a.password, "password", true)?;
    let key = known.as_ref().filter(|_| deed != Deed::New).map(Kept::key).transpose()?;
    let options = RegisterOptions { key: key.as_ref(), ..RegisterOptions::default() };
    let _handled = Handled::new();
    let registered = interruptible(client.register(&password, options), Sent::Registration).await?;
    let done = registered.map_err(|e| match e {
        Error::NotOwner => Failure::new(
            Exit::KeyExists,
            "another key than this device's is registered for this account: another device has made it",
        )
        .remedy("Get that one with its password (`bkv recover`); this device's key is put aside, and its backups stay readable."),
        e => e.into(),
    })?;
    let kept = match known {
        Some(kept) if kept.key()? == done.key => kept,
        _ => {
            if let Some(folder) = device.put_aside()? {
                out.note(&format!(
                    "The deleted key is kept on this device: --state {} reads what was backed up under it.",
                    folder.display()
                ));
            }
            Kept::new(Mode::Password, &done.key, &done.account.0, &lineage.0, series(&runtime))
        }
    };
    device.save(&kept)?;
    for region in &done.not_acknowledged {
        out.note(&format!("Region {region} has not stored it yet; the others have, and that is enough."));
    }
    not_followed(out, &done.not_followed);
    out.result(
        deed.told(),
        facts([
            ("registered", true.into()),
            ("did", deed.word().into()),
            ("generation", done.generation.0.into()),
            ("receipt", json!({ "region": done.receipt.region, "index": done.receipt.index })),
            ("not_acknowledged", done.not_acknowledged.into()),
            ("not_followed", done.not_followed.into()),
        ]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_key_is_never_laid_again_and_a_live_one_only_by_who_has_it() {
        for has_key in [true, false] {
            assert_eq!(Deed::of(has_key, State::Deleted), Ok(Deed::New));
            for state in [State::Live, State::LastTry, State::Locked] {
                let want = if has_key { Ok(Deed::Replace) } else { Err(Error::KeyExists) };
                assert_eq!(Deed::of(has_key, state), want);
            }
        }
        assert_eq!(Deed::of(true, State::Destroyed), Ok(Deed::Again));
        assert_eq!(Deed::of(false, State::Destroyed), Ok(Deed::New));
    }
}
