//! What to do on a device that still has a key that the vault has lost.

use bkv_client::State;

use crate::device::{Kept, Mode};
use crate::exit::Failure;

/// The advice for a device that has the account's key, if the vault does not have it any more.
pub(crate) fn advice(state: State) -> Option<&'static str> {
    match state {
        State::Destroyed => Some(
            "This device still has the key: `bkv register` here stores it in the vault again under a new password, which saves the key and all its backups.",
        ),
        State::Deleted => Some(
            "This device still has the deleted key, which reads all its backups. `bkv register` here makes a new key, and keeps the deleted one on this device.",
        ),
        State::None | State::Live | State::LastTry | State::Locked => None,
    }
}

/// Gives a failure this advice instead of that for a device without a key.
pub(crate) fn advise(failure: Failure, kept: Option<&Kept>) -> Failure {
    let gone = failure.details.get("state").and_then(|state| state.as_str()).map(str::to_owned);
    let state = [State::Destroyed, State::Deleted].into_iter().find(|s| gone.as_deref() == Some(s.name()));
    match state.and_then(advice).filter(|_| kept.is_some_and(|k| k.mode == Mode::Password)) {
        Some(advice) => failure.remedy(advice),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use bkv_client::{BackupKey, Error};

    use super::*;

    #[test]
    fn a_device_with_the_key_is_told_that_it_can_save_it() {
        let kept = Kept::new(Mode::Password, &BackupKey::from_bytes(&[1; 32]), &[1; 32], &[2; 32], [3; 16]);
        let remedy = |e: Error, kept: Option<&Kept>| advise(e.into(), kept).remedy.unwrap();
        assert!(remedy(Error::Destroyed, Some(&kept)).contains("saves the key and all its backups"));
        assert!(remedy(Error::Deleted, Some(&kept)).contains("keeps the deleted one"));
        assert!(!remedy(Error::Destroyed, None).contains("This device"));
        assert!(!remedy(Error::Locked, Some(&kept)).contains("This device still has"));
    }
}
