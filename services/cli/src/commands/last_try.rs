//! The last try that this device keeps. Its file must be readable before a command spends anything, and each failure names the end of an open one.

use bkv_client::{FileLastTry, KeepLastTry as _, MemoryError};

use crate::device::DeviceState;
use crate::exit::{Exit, Failure, Outcome};
use crate::failure::now_ms;
use crate::output::Output;
use crate::words::time;

/// The file of this device's last try. Fails if it is broken: with another id this device would give up the open try, and its key.
pub(crate) fn open(device: &DeviceState) -> Outcome<FileLastTry> {
    let keep = device.last_try();
    match keep.load() {
        Ok(_) => Ok(keep),
        Err(MemoryError::Broken { path, why }) => Err(Failure::new(
            Exit::Config,
            format!("{} is broken ({why}). This device keeps in it what it needs to go on with an open last try", path.display()),
        )
        .remedy(format!(
            "Put the file back from a copy if you have one. Without it this device can't go on with its last try: if one is open, the key is destroyed at its deadline. Until then `bkv register` on a device that still has the key saves it: it sets a new password. `bkv recover --set-aside-last-try --state {}` renames the file and goes on without it.",
            device.folder().display()
        ))),
        Err(e) => Err(bkv_client::Error::from(e).into()),
    }
}

/// Renames the file of a last try, so that commands go on without it: the file is broken, or the vaults do not let this device go on with its try.
pub(crate) fn set_aside(out: Output, device: &DeviceState) -> Outcome {
    let keep = device.last_try();
    let end = match keep.load() {
        Ok(Some(kept)) => format!("at {}", time(kept.until().0)),
        Err(MemoryError::Broken { .. }) => "at its deadline".into(),
        Ok(None) => {
            let none = format!("this device keeps no last try in {}", keep.path().display());
            return Err(Failure::new(Exit::Usage, none).remedy("Leave out --set-aside-last-try."));
        }
        Err(e) => return Err(bkv_client::Error::from(e).into()),
    };
    let moved = device.set_aside(keep.path())?;
    out.warning(&format!(
        "The file of this device's last try is now {}. Without it this device can't go on with that try. If the try is open, the key is destroyed {end}, unless you put the file back and recover with the same password, or `bkv register` on a device that still has the key sets a new password. The file may contain a secret: remove it once `bkv status` shows that no last try is open.",
        moved.display()
    ));
    Ok(())
}

/// Adds to a failure until when the last try that this device keeps can be gone on with, and how. The command may have failed before it reached a vault.
pub(crate) fn remind(failure: Failure, device: &DeviceState) -> Failure {
    let Ok(Some(kept)) = device.last_try().load() else { return failure };
    let until = kept.until().0;
    // Without an answer nothing is known of the try. With "try again later" as the only advice the user would lose the key.
    let unknown = failure.exit == Exit::Unavailable || failure.details.contains_key("try_counted");
    let exit = if unknown && failure.exit != Exit::Interrupted { Exit::LastTry } else { failure.exit };
    let how = format!("bkv recover --state {}", device.folder().display());
    let what = if until > now_ms() {
        format!(
            "This device keeps a last try, which may be open until {}. Run `{how}` before then, with the same password: if the try is open, that is free. When the time of an open last try is over, the key is destroyed. Until then `bkv register` on a device that still has the key saves it: it sets a new password.",
            time(until)
        )
    } else {
        format!(
            "The time of this device's last try was over at {}: if it was open and not finished, the key is destroyed. `{how}` shows what became of it.",
            time(until)
        )
    };
    let remedy = match &failure.remedy {
        // An interrupted command's own words are kept: they name what may have been sent.
        Some(first) if !unknown || failure.exit == Exit::Interrupted => format!("{first} {what}"),
        _ => what,
    };
    Failure { exit, ..failure }.remedy(remedy).detail("last_try_until_ms", until)
}

#[cfg(test)]
mod tests {
    use bkv_client::{Counted, Error, Time};

    use super::*;
    use crate::args::Device;

    fn device(folder: &std::path::Path) -> DeviceState {
        DeviceState::open(&Device { state: Some(folder.to_owned()) }).unwrap()
    }

    fn keeps(device: &DeviceState, until: u64) {
        let (id, long) = ("07".repeat(16), "07".repeat(32));
        let open = serde_json::json!({
            "format": 1, "lineage": long, "account": long, "attempt": id, "cancel": long, "secret": long,
            "ksf_memory_kib": 8, "ksf_passes": 1, "ksf_lanes": 1,
            "generation": 1, "ordinal": 10, "until_ms": until,
        });
        std::fs::write(device.last_try().path(), open.to_string()).unwrap();
    }

    fn unfinished() -> Failure {
        let cause = Box::new(Error::VaultUnreachable("no answer".into()));
        Error::Unfinished { counted: Counted::Yes, cause }.into()
    }

    /// With an open last try "try again later" would lose the key.
    #[test]
    fn a_failure_names_the_end_of_an_open_last_try_and_the_command_that_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let device = device(folder.path());
        let early = || Failure::from(Error::ChatdUnreachable("no connection".into()));
        assert_eq!(remind(unfinished(), &device).exit, Exit::Unavailable);
        assert_eq!(remind(early(), &device).remedy, early().remedy);
        let until = now_ms() + 3_600_000;
        keeps(&device, until);
        for failure in [unfinished(), early()] {
            let failure = remind(failure, &device);
            assert_eq!(failure.exit, Exit::LastTry);
            assert_eq!(failure.details["last_try_until_ms"], until);
            let remedy = failure.remedy.unwrap();
            let command = format!("bkv recover --state {}", folder.path().display());
            for part in [time(until), command, "the key is destroyed".into()] {
                assert!(remedy.contains(&part), "no `{part}` in: {remedy}");
            }
        }
        // A refused token has its own remedy, and its own exit code.
        let refused = remind(Error::TokenExpired.into(), &device);
        assert_eq!(refused.exit, Exit::TokenRefused);
        let remedy = refused.remedy.unwrap();
        assert!(remedy.contains("Sign in again") && remedy.contains(&time(until)), "{remedy}");
        for e in [Error::LastTryOpen { until: Time(1) }, Error::LastTryOtherPassword] {
            assert_eq!(remind(e.into(), &device).exit, Exit::LastTry);
        }
        keeps(&device, 1);
        assert!(remind(unfinished(), &device).remedy.unwrap().contains("was over at"));
    }

    #[test]
    fn a_last_try_is_set_aside_only_if_asked_and_a_broken_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let device = device(folder.path());
        let (path, out) = (device.last_try().path().to_owned(), Output { json: false, quiet: true });
        assert_eq!(set_aside(out, &device).unwrap_err().exit, Exit::Usage, "there is none");
        keeps(&device, 1);
        open(&device).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        set_aside(out, &device).unwrap();
        assert_eq!(device.last_try().load().unwrap(), None);
        let aside = |n: u32| std::fs::read_to_string(folder.path().join(format!("last-try.json.aside-{n}")));
        assert_eq!(aside(1).unwrap(), whole, "it can be put back");
        for n in 2..=3 {
            let broken = format!("{{broken {n}");
            std::fs::write(&path, &broken).unwrap();
            let failure = open(&device).unwrap_err();
            assert_eq!(failure.exit, Exit::Config);
            assert!(failure.message.contains(&path.display().to_string()), "{}", failure.message);
            let remedy = failure.remedy.unwrap();
            for part in ["the key is destroyed", "--set-aside-last-try", "a copy"] {
                assert!(remedy.contains(part), "no `{part}` in: {remedy}");
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), broken, "a refusal moves nothing");
            set_aside(out, &device).unwrap();
            open(&device).unwrap();
            assert_eq!(aside(n).unwrap(), broken);
        }
    }
}
