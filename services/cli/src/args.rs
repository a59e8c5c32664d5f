//! Options that several commands have.

use std::path::PathBuf;

use clap::Args;

use crate::backups::Remote;
use crate::secret_input::descriptor;

/// How to reach the vault as whom.
#[derive(Debug, Args)]
pub(crate) struct Online {
    /// The fleet's profile: ChatD's address and the pinned root.
    #[arg(long, env = "BKV_FLEET", hide_env_values = true, value_name = "FILE")]
    pub fleet: PathBuf,
    /// The account's tokens, as JSON {"chatd": …, "vault": …}: one for the front end, one that only vaults see.
    #[arg(long, value_name = "FILE")]
    pub token: PathBuf,
    #[command(flatten)]
    pub device: Device,
    /// Give up after this many seconds. Until then the same attempt is repeated, which costs one try at most. If time is up after the attempt began, the try may
    /// be spent, and the error tells you. A right password gives all tries back.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub timeout: u64,
}

/// The same, where a backup can also be made without any vault.
#[derive(Debug, Clone, Args)]
pub(crate) struct MaybeOnline {
    /// The fleet's profile. Not needed with a 64-digit key.
    #[arg(long, env = "BKV_FLEET", hide_env_values = true, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// The account's tokens. Not needed with a 64-digit key.
    #[arg(long, value_name = "FILE")]
    pub token: Option<PathBuf>,
    #[command(flatten)]
    pub device: Device,
    /// Give up reaching the vault after this many seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub timeout: u64,
    #[command(flatten, next_help_heading = "S3 and WebDAV")]
    pub remote: Remote,
}

/// What this device remembers.
#[derive(Debug, Clone, Args)]
pub(crate) struct Device {
    /// Folder of this device's state: its key, the newest fleet documents seen, the newest backup. [default: ~/.local/state/bkv]
    #[arg(long, env = "BKV_STATE", hide_env_values = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// Where a password comes from: a prompt if nothing is given.
#[derive(Debug, Args)]
pub(crate) struct PasswordSource {
    /// Read the password from a file (without a trailing line break).
    #[arg(long, value_name = "FILE", conflicts_with = "password_fd")]
    pub password_file: Option<PathBuf>,
    /// Read the password from an open file descriptor.
    #[arg(long, value_name = "N", value_parser = descriptor)]
    pub password_fd: Option<i32>,
}
