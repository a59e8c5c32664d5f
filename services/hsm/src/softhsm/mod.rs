//! Makes `SoftHSM` tokens: for `bkv dev`, for tests, and for a vault's own volume in a pod. `SoftHSM` reads `SOFTHSM2_CONF` once per process, so a child
//! process does the work: the calling program, started again. PINs go through its standard input, never through arguments or the environment.
//!
//! A program that calls [`init_token`] or [`ensure_token`] must call [`run_child_if_asked`] first in its `main`.

mod child;
mod conf;
mod ensure;
mod heal;
mod process;

pub use child::{run_child, run_child_if_asked};
pub use ensure::{Ensured, Wanted, ensure_token, ensure_token_by};
pub use heal::heal;
pub use process::ProcessError;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::TokenError;
use process::Request;

/// The module of Debian's `libsofthsm2`.
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

/// A token could not be made or checked.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file or directory can't be read or written.
    #[error("SoftHSM's files: {path:?} cannot be read or written")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The directory has a token already.
    #[error("{0:?} has a token already; use that token, or another directory")]
    Exists(PathBuf),
    /// The module is not installed.
    #[error("SoftHSM's module {0:?} is not installed; apt-get install softhsm2")]
    NotInstalled(PathBuf),
    /// The configuration has no usable `directories.tokendir`.
    #[error("{0:?} has no usable `directories.tokendir`; set it to an absolute path below `/`")]
    NoDirectory(PathBuf),
    /// The PIN file can't be used.
    #[error(transparent)]
    Pin(Box<TokenError>),
    /// The token exists and has another PIN.
    #[error("token {label:?} exists and refuses the PIN; mount the PIN that the token was made with")]
    PinRefused {
        /// The token.
        label: String,
    },
    /// The child process failed.
    #[error("token {label:?} could not be made or checked")]
    Child {
        /// The token.
        label: String,
        /// What failed.
        source: ProcessError,
    },
}

/// Makes `dir` (mode 0700), `softhsm2.conf` in it, and one token. PINs have 4 to 255 bytes.
pub fn init_token(dir: &Path, label: &str, pin: &str, so_pin: &str) -> Result<SoftHsm, SetupError> {
    init_token_by(process::this_program()?, dir, label, pin, so_pin)
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
    process::ask(command, &made.conf, &request)?;
    heal::keep_copies(&made.tokens)?;
    Ok(made)
}
