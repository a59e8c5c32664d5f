//! Makes the token that a given configuration names, as in a pod, where the configuration is mounted read-only. Makes it once and only checks it later.
//!
//! The token is made in a directory beside its place. When it is whole and on disk, that directory is renamed to its place. So a crash leaves a whole
//! token or none, and the next start removes the rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::rand;
use rustix::fs::{FlockOperation, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use zeroize::Zeroizing;

use super::conf::{self, at};
use super::heal::{heal, keep_copies};
use super::process::{self, Request};
use super::{SetupError, SoftHsm};
use crate::pin::read_pin;

/// The token that should exist.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// SoftHSM's module.
    pub module: PathBuf,
    /// The token's label.
    pub label: String,
    /// The file with the user PIN.
    pub pin_file: PathBuf,
    /// The configuration file of the vault, in `SOFTHSM2_CONF`.
    pub conf: PathBuf,
}

/// What [`ensure_token`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ensured {
    /// It made the token.
    Made,
    /// The token existed and accepts the PIN.
    Found,
}

/// Makes the token if its directory has none. Never makes an existing token again and never changes its PIN. The SO PIN is random and kept nowhere, so
/// another user PIN needs another token.
pub fn ensure_token(wanted: &Wanted) -> Result<Ensured, SetupError> {
    ensure_token_by(process::this_program, wanted)
}

/// As [`ensure_token`], by a program of the caller's choice that calls [`super::run_child`].
pub fn ensure_token_by(
    command: impl Fn() -> Result<Command, SetupError>,
    wanted: &Wanted,
) -> Result<Ensured, SetupError> {
    if !wanted.module.is_file() {
        return Err(SetupError::NotInstalled(wanted.module.clone()));
    }
    let pin = read_pin(&wanted.pin_file).map_err(|e| SetupError::Pin(Box::new(e)))?;
    let text = fs::read_to_string(&wanted.conf).map_err(at(&wanted.conf))?;
    let tokens = conf::token_directory(&wanted.conf, &text)?;
    let parent = tokens.parent().ok_or_else(|| SetupError::NoDirectory(wanted.conf.clone()))?;
    fs::create_dir_all(parent).map_err(at(parent))?;
    let folder = fs::File::open(parent).map_err(at(parent))?;
    // Without this lock, two processes would each make a token, and the second could not rename its own into place.
    flock(&folder, FlockOperation::LockExclusive).map_err(|e| at(parent)(e.into()))?;
    // The child inherits the locked folder. If this process is killed, its child may outlive it for a moment, and would write its token into the directory of the next process.
    fcntl_setfd(&folder, FdFlags::empty()).map_err(|e| at(parent)(e.into()))?;
    let request = |so_pin: Option<&str>| Request {
        module: wanted.module.clone(),
        label: wanted.label.clone(),
        pin: pin.as_str().to_owned(),
        so_pin: so_pin.map(str::to_owned),
    };
    if has_entries(&tokens)? {
        heal(&wanted.conf)?;
        process::ask(command()?, &wanted.conf, &request(None))?;
        return Ok(Ensured::Found);
    }
    let beside = beside(&tokens);
    match fs::remove_dir_all(&beside) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(at(&beside)(e)),
        _ => {}
    }
    let made: SoftHsm = conf::write(&beside, &text)?;
    let so_pin = random_pin()?;
    process::ask(command()?, &made.conf, &request(Some(&so_pin)))?;
    keep_copies(&made.tokens)?;
    sync_all(&made.tokens)?;
    // The place is free or an empty directory. Rename refuses anything else.
    bkv_files::publish(&made.tokens, &tokens).map_err(at(&tokens))?;
    let _ = fs::remove_dir_all(&beside);
    Ok(Ensured::Made)
}

fn beside(tokens: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".making-");
    name.push(tokens.file_name().unwrap_or_default());
    tokens.with_file_name(name)
}

fn has_entries(directory: &Path) -> Result<bool, SetupError> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(at(directory)(e)),
    }
}

fn random_pin() -> Result<Zeroizing<String>, SetupError> {
    let mut bytes = Zeroizing::new([0u8; 16]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| SetupError::Io {
        path: "/dev/urandom".into(),
        source: std::io::Error::other("no randomness"),
    })?;
    let mut pin = Zeroizing::new(String::with_capacity(32));
    for byte in bytes.iter() {
        for digit in [byte >> 4, byte & 15] {
            pin.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    Ok(pin)
}

/// Syncs every file and directory in `directory`. The module does not sync what it writes.
fn sync_all(directory: &Path) -> Result<(), SetupError> {
    for entry in fs::read_dir(directory).map_err(at(directory))? {
        let path = entry.map_err(at(directory))?.path();
        if path.is_dir() {
            sync_all(&path)?;
        } else {
            fs::File::open(&path).and_then(|f| f.sync_all()).map_err(at(&path))?;
        }
    }
    fs::File::open(directory).and_then(|d| d.sync_all()).map_err(at(directory))
}
