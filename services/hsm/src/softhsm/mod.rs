//! Fresh `SoftHSM` tokens, for `bkv dev`, for tests, and for a vault's own volume in a pod.
//! `SoftHSM` reads `SOFTHSM2_CONF` once per process, so a child process does it: the calling program, started
//! again. PINs go through its standard input, never through arguments or the environment.
//!
//! A program that calls [`init_token`] or [`ensure_token`] must call [`run_child_if_asked`] first thing in its `main`.

mod child;
mod conf;
mod ensure;
mod heal;

pub use child::{run_child, run_child_if_asked};
pub use ensure::{Ensured, Wanted, ensure_token, ensure_token_by};
pub use heal::heal;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::TokenError;
use child::Request;

/// Where Debian's `libsofthsm2` has its module.
pub const DEBIAN_MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// The environment variable that names the configuration file.
pub const CONF_VARIABLE: &str = "SOFTHSM2_CONF";

/// A `SoftHSM` directory with one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoftHsm {
    /// The configuration file: start the vault with `SOFTHSM2_CONF` set to it.
    pub conf: PathBuf,
    /// The directory with the token's objects.
    pub tokens: PathBuf,
}

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file or directory.
    #[error("SoftHSM directory {path:?}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The directory has a token already.
    #[error("{0:?} has a token already; use it, or another directory")]
    Exists(PathBuf),
    /// The module is not installed.
    #[error("SoftHSM's module {0:?} is not installed; apt-get install softhsm2")]
    NotInstalled(PathBuf),
    /// The configuration says nothing usable.
    #[error("{0:?} names no `directories.tokendir` below a directory, by an absolute path")]
    NoDirectory(PathBuf),
    /// The PIN's file.
    #[error(transparent)]
    Pin(Box<TokenError>),
    /// The token is there, and takes another PIN.
    #[error("the token {label:?} is there and refuses the PIN; mount the one that it was made with")]
    PinRefused {
        /// The token.
        label: String,
    },
    /// The child failed.
    #[error("the token {label:?} could not be used: {why}")]
    Child {
        /// The token.
        label: String,
        /// What it said; never a PIN.
        why: String,
    },
}

/// Makes `dir` (mode 0700), its `softhsm2.conf` and one token with that label and those PINs (4 to 255 bytes).
pub fn init_token(dir: &Path, label: &str, pin: &str, so_pin: &str) -> Result<SoftHsm, SetupError> {
    init_token_by(child::this_program()?, dir, label, pin, so_pin)
}

/// As [`init_token`], by a program of the caller's choice that calls [`run_child`].
pub fn init_token_by(
    command: Command,
    dir: &Path,
    label: &str,
    pin: &str,
    so_pin: &str,
) -> Result<SoftHsm, SetupError> {
    let module = PathBuf::from(DEBIAN_MODULE);
    if !module.is_file() {
        return Err(SetupError::NotInstalled(module));
    }
    let made = conf::write(
        dir,
        "# Written by bkv. One token directory per vault: SoftHSM does not share one well.\n\
         objectstore.backend = file\n\
         log.level = ERROR\n\
         slots.removable = false",
    )?;
    let request =
        Request { module, label: label.to_owned(), pin: pin.to_owned(), so_pin: Some(so_pin.to_owned()) };
    child::ask(command, &made.conf, &request)?;
    heal::keep_copies(&made.tokens)?;
    Ok(made)
}
