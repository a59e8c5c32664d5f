//! The 64-digit mode: the person keeps the key, and no vault learns of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bkv_client::BackupKey;
use bkv_core::hash::tagged;
use clap::Subcommand;
use rand::RngCore as _;
use zeroize::Zeroizing;

use super::ceremony::write_new;
use crate::args::Device;
use crate::device::{DeviceState, Kept, Mode};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::secret_input::{self, Source};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key for the 64-digit mode. It is kept on this device only and never sent to a vault.
    New {
        #[command(flatten)]
        device: Device,
    },
    /// Show this device's key as 64 hexadecimal digits. Anybody who sees them can read every backup.
    Show {
        #[command(flatten)]
        device: Device,
        /// Only the digits, in one line.
        #[arg(long)]
        plain: bool,
    },
    /// Derive a password for another backup program, such as restic, from this device's key.
    ///
    /// It prints 64 hexadecimal digits. The same key and purpose always give the same, also on a new device after `bkv recover` or `bkv key enter`. Each purpose gives another
    /// one, and none reveals the key or another one. Forward secrecy does not cover them: whoever has the key can derive them all. A new key gives other passwords:
    /// `--state DIR/earlier-N` derives those of the key before it. Example: `restic --password-command "bkv key derive restic" …`
    Derive {
        #[command(flatten)]
        device: Device,
        /// What the password is for, such as `restic` or `borg-laptop`: at most 64 of a-z, 0-9, `.`, `_` and `-`.
        #[arg(value_parser = purpose)]
        purpose: String,
        /// Write it to this new file, which only you can read, and not to standard output.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Enter 64 hexadecimal digits (0-9, a-f) on a new device.
    Enter {
        #[command(flatten)]
        device: Device,
        /// Read the digits from a file.
        #[arg(long, value_name = "FILE", conflicts_with = "key_fd")]
        key_file: Option<PathBuf>,
        /// Read the digits from an open file descriptor.
        #[arg(long, value_name = "N", value_parser = secret_input::descriptor)]
        key_fd: Option<i32>,
    },
}

/// The owner that backups of the 64-digit mode name in place of an account. It is derived from the key, so every device with the digits computes it, and it
/// reveals nothing of the key.
fn pseudonym(key: &BackupKey) -> [u8; 32] {
    tagged("bkv/digits-account/1", &[key.as_bytes()]).0
}

/// Allows few characters: a purpose with another spelling would give another password.
fn purpose(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > 64 || !text.chars().all(fits) {
        return Err("1 to 64 of a-z, 0-9, '.', '_' and '-' are needed".into());
    }
    Ok(text.to_owned())
}

fn derive(out: Output, device: &Device, purpose: &str, output: Option<&Path>) -> Outcome {
    let key = DeviceState::open(device)?.require()?.key()?;
    let derived = key.for_purpose(purpose)?;
    let mut line = Zeroizing::new(String::with_capacity(65));
    for byte in derived.iter() {
        let _ = write!(line, "{byte:02x}");
    }
    let Some(path) = output else {
        return out.secret("password", &line);
    };
    line.push('\n');
    write_new(path, line.as_bytes(), 0o600)?;
    out.result(
        &format!("The password for '{purpose}' is in {}, which only you can read.", path.display()),
        facts([("purpose", purpose.into()), ("file", path.display().to_string().into())]),
    )
}

fn series() -> [u8; 16] {
    let mut bytes = [0; 16];
    rand::rngs::OsRng.fill_bytes(&mut bytes);
    bytes
}

pub(crate) fn run(out: Output, command: KeyCommand) -> Outcome {
    match command {
        KeyCommand::New { device } => {
            let device = DeviceState::open_for_key_change(&device)?;
            if device.load()?.is_some() {
                return Err(Failure::new(Exit::CantCreate, "this device has a key already").remedy(
                    "Use another folder with --state; overwriting it could make its backups unreadable.",
                ));
            }
            let key = BackupKey::generate()?;
            device.save(&Kept::new(Mode::Digits, &key, &pseudonym(&key), &[0; 32], series()))?;
            out.result(
                "A new key is on this device, and nowhere else. `bkv key show` shows it: write its 64 hexadecimal digits (0-9, a-f) down and keep them safe.",
                facts([("made", true.into())]),
            )?;
        }
        KeyCommand::Show { device, plain } => {
            let kept = DeviceState::open(&device)?.require()?;
            let key = kept.key()?;
            let digits = key.to_digits();
            let line: Zeroizing<String> = Zeroizing::new(digits.split_whitespace().collect());
            if plain && !out.json {
                out.secret("key", &line)?;
            } else {
                out.note("Whoever sees these digits can read every backup.");
                if kept.mode == Mode::Password {
                    out.note("They alone restore single files (`--form file`). A series also needs V, which the vault keeps: restore it with the password.");
                }
                if out.json {
                    out.secret("key", &line)?;
                } else {
                    out.shown(&digits, facts([]))?;
                }
            }
        }
        KeyCommand::Derive { device, purpose, output } => derive(out, &device, &purpose, output.as_deref())?,
        KeyCommand::Enter { device, key_file, key_fd } => {
            let device = DeviceState::open_for_key_change(&device)?;
            let text = secret_input::read(
                Source { file: key_file.as_deref(), fd: key_fd },
                "key's 64 digits",
                false,
            )?;
            let key = BackupKey::from_digits(&text).map_err(|e| {
                Failure::new(Exit::NoInput, e.to_string())
                    .remedy("A key has 64 digits 0-9 and a-f, in 16 groups of four.")
            })?;
            match device.load()? {
                Some(known) if known.key()? != key => {
                    return Err(Failure::new(Exit::CantCreate, "this device has another key already")
                        .remedy("Use another folder with --state."));
                }
                // The state also knows the newest backup. Without that an attacker could offer an older one.
                Some(_) => {}
                None => device.save(&Kept::new(Mode::Digits, &key, &pseudonym(&key), &[0; 32], series()))?,
            }
            out.result(
                "The key is on this device. A typo shows when a backup is opened with it.",
                facts([("entered", true.into())]),
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_has_one_spelling() {
        assert_eq!(purpose("borg-laptop_2.0"), Ok("borg-laptop_2.0".into()));
        for bad in ["", "Restic", "a b", "a/b", "é", &"x".repeat(65)] {
            assert!(purpose(bad).is_err(), "{bad}");
        }
    }
}
