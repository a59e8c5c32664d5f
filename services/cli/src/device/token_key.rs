//! `token-key.pem`: the key to which this device's vault tokens are bound. Another program that fetches the tokens may put its own key there.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;

use bkv_client::SoftwareTokenKey;
use zeroize::Zeroizing;

use super::{DeviceState, unwritable};
use crate::exit::{Exit, Failure, Outcome};

/// A key has less than 300 bytes, and other data may surround it.
const LONGEST: usize = 16 << 10;

impl DeviceState {
    fn token_key_path(&self) -> PathBuf {
        self.folder().join("token-key.pem")
    }

    /// The key, if this device has one.
    pub(crate) fn token_key(&self) -> Outcome<Option<SoftwareTokenKey>> {
        let path = self.token_key_path();
        let mut pem = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
        let read = File::open(&path).and_then(|file| file.take(LONGEST as u64 + 1).read_to_end(&mut pem));
        match read {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => {
                return Err(Failure::new(Exit::NoInput, format!("can't read {}: {e}", path.display()))
                    .remedy("Make it readable, or use another folder with --state."));
            }
        }
        // The message shows nothing of the file's content.
        let text = std::str::from_utf8(&pem).ok().filter(|text| text.len() <= LONGEST).unwrap_or_default();
        let key = SoftwareTokenKey::from_pem(text).map_err(|why| {
            Failure::new(Exit::Config, format!("{}: {why}", path.display())).remedy(
                "Restore the file, or move it away: `bkv token-key` then makes another key, and you need tokens for that one.",
            )
        })?;
        Ok(Some(key))
    }

    /// The key. Makes one if there is none.
    pub(crate) fn token_key_or_new(&self) -> Outcome<SoftwareTokenKey> {
        if self.token_key()?.is_none() {
            let path = self.token_key_path();
            let pem = SoftwareTokenKey::generate()?;
            match bkv_files::create(&path, pem.as_bytes(), bkv_files::Mode::Private) {
                Ok(()) => {}
                // Another command has just made it.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(unwritable(format!("can't write {}: {e}", path.display()))),
            }
        }
        self.token_key()?.ok_or_else(|| Failure::new(Exit::Unexpected, "the new token key is gone again"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use bkv_client::TokenKey as _;

    use super::*;
    use crate::args::Device;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = DeviceState::open(&Device { state: Some(dir.path().join("state")) }).unwrap();
        assert!(state.token_key().unwrap().is_none());
        let made = state.token_key_or_new().unwrap().public();
        assert_eq!(state.token_key_or_new().unwrap().public(), made);
        assert_eq!(state.token_key().unwrap().unwrap().public(), made);
        let mode = fs::metadata(state.token_key_path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_broken_key_is_an_error_that_shows_nothing_of_it_and_no_new_key_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = DeviceState::open(&Device { state: Some(dir.path().to_owned()) }).unwrap();
        let good = SoftwareTokenKey::generate().unwrap();
        let long = format!("{}{}", "x".repeat(LONGEST), *good);
        for text in [&good[..good.len() / 2], "", "c2VjcmV0", &long] {
            fs::write(state.token_key_path(), text).unwrap();
            let e = state.token_key_or_new().unwrap_err();
            assert_eq!(e.exit, Exit::Config);
            assert!(e.message.contains("token-key.pem") && !e.message.contains("c2Vj"), "{e}");
            assert_eq!(fs::read_to_string(state.token_key_path()).unwrap(), text);
        }
    }
}
