//! What a command needs to reach the fleet.

use std::time::Duration;

use crate::args::{MaybeOnline, Online};
use crate::exit::{Exit, Failure, Outcome};

/// How long a command waits for a vault whose answer it can do without.
pub(crate) const ASK: Duration = Duration::from_secs(5);

/// The options of an online command. Fails if one is missing.
pub(crate) fn online(m: MaybeOnline) -> Outcome<Online> {
    let missing = |what: &str| {
        Failure::new(
            Exit::NoInput,
            format!("--{what} is needed: this device's key lies under a password in the vault"),
        )
        .remedy("Give --fleet (or BKV_FLEET) and --token.")
    };
    Ok(Online {
        fleet: m.fleet.ok_or_else(|| missing("fleet"))?,
        token: m.token.ok_or_else(|| missing("token"))?,
        device: m.device,
        timeout: m.timeout,
    })
}
