//! The command line and its `--help`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// End-to-end encrypted backups whose key only you can get back.
#[derive(Debug, Parser)]
#[command(
    name = "bkv",
    version,
    max_term_width = 110,
    after_help = "Exit codes: 0 done · 1 unexpected · 2 usage, or not confirmed · 10 wrong password · 11 wait · 12 destroyed or deleted · 13 no key · 14 locked\n\
                  15 wrong key · 16 fleet not trusted · 17 a region answered wrongly · 18 clock wrong · 19 password refused\n\
                  20 a key is registered already · 21 the state is another account's\n\
                  64 bad configuration · 65 backup damaged, foreign or rolled back · 66 input missing or unreadable\n\
                  69 vault or ChatD unreachable · 73 can't write the output · 77 token refused · 130 interrupted\n\n\
                  Passwords, keys and tokens are never arguments: they come from a prompt, a file or a file descriptor."
)]
pub(crate) struct Cli {
    /// Print one JSON object instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but errors and results.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a random backup key and lay it under a password in the vault.
    ///
    /// On a device that has the account's key already this sets a new password for that key, without asking for the old one: the key itself is the proof. After
    /// `bkv delete` it makes a new key, and puts the deleted one aside. A device with a 64-digit key is refused: that key is never sent anywhere.
    Register(Register),
    /// Get the key back with the password, and keep it in this device's state.
    ///
    /// Refused, before any try is spent, where the state holds a 64-digit key or another account's.
    Recover(Recover),
    /// Encrypt a folder into one file in another (a cloud drive's, say).
    ///
    /// Kept are files, folders, symbolic links, permission bits and times in whole seconds. Not kept: owners, extended attributes, set-user-id and set-group-id
    /// bits. Hard links become files of their own. Pipes, sockets and devices are left out and said. If the backups' own folder lies in the folder that is
    /// backed up, it is left out and said. A killed backup leaves a file ending in `.partial`; the next one of the same name takes it away.
    Backup(Backup),
    /// Decrypt a backup; nothing appears at the destination before all of it is proved genuine.
    ///
    /// Everything that can be checked without the vault is checked before a try is spent. With this device's own key and a token, the vault is asked which
    /// backup is the newest; if it can't be, that is said. A restore that is killed leaves a folder beside the destination, ending in `.restoring`, readable
    /// for you only; the next restore to the same destination takes it away.
    Restore(Restore),
    /// What the vaults say of your key: signed by them, over a fresh nonce.
    Status(Online),
    /// Change the password.
    #[command(subcommand)]
    Password(PasswordCommand),
    /// Remove your key from the vault, for good.
    Delete(Delete),
    /// The 64 hexadecimal digits that can stand in for a password.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show a backup's header without its key.
    Inspect {
        /// A `.bkv` file.
        file: PathBuf,
    },
    /// The fleet's root: make it, look at what asks for its signature, sign. Made for a machine without network.
    #[command(subcommand)]
    Ceremony(CeremonyCommand),
    /// A whole fleet on this machine, for trying things. Protects nothing.
    #[command(subcommand)]
    Dev(DevCommand),
}

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
    /// Give up after this many seconds. Within that time the same attempt is repeated, which costs one try at most; one that has begun when time is up may
    /// have cost its try, and the error says so. A right password gives all tries back.
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
    #[arg(long, value_name = "N")]
    pub password_fd: Option<i32>,
}

#[derive(Debug, Args)]
pub(crate) struct Register {
    #[command(flatten)]
    pub online: Online,
    #[command(flatten)]
    pub password: PasswordSource,
}

#[derive(Debug, Args)]
pub(crate) struct Recover {
    #[command(flatten)]
    pub online: Online,
    #[command(flatten)]
    pub password: PasswordSource,
    /// Use the last try without asking. If the password is wrong, the key is destroyed.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Folder to back up.
    pub source: PathBuf,
    /// Folder to put the backup into.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Name of the backup series. [default: the source's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Compress with zstd before encrypting.
    #[arg(long)]
    pub compress: bool,
    /// Leave out files that can't be read, and list them, instead of stopping.
    #[arg(long)]
    pub skip_unreadable: bool,
    #[command(flatten)]
    pub online: MaybeOnline,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// A `.bkv` file, or a folder: its newest backup of this account and key is taken, others are passed over and named.
    pub from: PathBuf,
    /// Where to put what was backed up. Must not exist yet.
    #[arg(long, value_name = "PATH")]
    pub to: PathBuf,
    /// Restore an older backup than the newest one known.
    #[arg(long)]
    pub allow_older: bool,
    #[command(flatten)]
    pub online: MaybeOnline,
    #[command(flatten)]
    pub password: PasswordSource,
    /// Use the last try without asking.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PasswordCommand {
    /// Prove the old password, then lay the same key under a new one.
    Change {
        #[command(flatten)]
        online: Online,
        #[command(flatten)]
        password: PasswordSource,
        /// Read the new password from a file.
        #[arg(long, value_name = "FILE", conflicts_with = "new_password_fd")]
        new_password_file: Option<PathBuf>,
        /// Read the new password from an open file descriptor.
        #[arg(long, value_name = "N")]
        new_password_fd: Option<i32>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub online: Online,
    /// Don't ask.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key for the 64-digit mode: it lies on this device only, and nothing is ever sent to a vault.
    New {
        #[command(flatten)]
        device: Device,
    },
    /// Show this device's key as 64 hexadecimal digits. Whoever sees them can read every backup.
    Show {
        #[command(flatten)]
        device: Device,
        /// Only the digits, in one line.
        #[arg(long)]
        plain: bool,
    },
    /// Enter 64 hexadecimal digits (0-9, a-f) on a new device.
    Enter {
        #[command(flatten)]
        device: Device,
        /// Read the digits from a file.
        #[arg(long, value_name = "FILE", conflicts_with = "key_fd")]
        key_file: Option<PathBuf>,
        /// Read the digits from an open file descriptor.
        #[arg(long, value_name = "N")]
        key_fd: Option<i32>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CeremonyCommand {
    /// Make a root key and the root file that clients and vaults are pinned to.
    Root {
        /// Where the private key goes (0600). Keep it off every network.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Where the root file goes: public, to be handed to everybody.
        #[arg(long, value_name = "FILE")]
        root: PathBuf,
    },
    /// Show what a document says, with the fingerprints to compare aloud.
    Show {
        /// A document, signed or not.
        document: PathBuf,
        /// The root file; signatures are checked against it.
        #[arg(long, value_name = "FILE")]
        root: Option<PathBuf>,
    },
    /// Sign an admission list or a policy.
    Sign {
        /// The unsigned (or partly signed) document.
        document: PathBuf,
        /// The root's private key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The root file, so that nothing of another fleet is signed.
        #[arg(long, value_name = "FILE")]
        root: PathBuf,
        /// Where the signed document goes.
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
        /// Don't ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DevDir {
    /// Folder of the local fleet: keys, tokens, stores, logs.
    #[arg(long, default_value = ".bkv-dev", value_name = "DIR")]
    pub dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DevCommand {
    /// Start a local fleet (and make it first, if it isn't there yet): vaults, ChatD, Postgres, a token issuer.
    Up {
        #[command(flatten)]
        dir: DevDir,
        /// Number of regions: 1, 3 or 5. Fixed when the fleet is made, as all of these are. [default: 3]
        #[arg(long)]
        regions: Option<u8>,
        /// Number of shards. [default: 4]
        #[arg(long)]
        shards: Option<u16>,
        /// Milliseconds to wait after the 1st, 2nd … failure. A real fleet's are minutes to days. [default: 0]
        #[arg(long, value_delimiter = ',')]
        waits_ms: Option<Vec<u64>>,
        /// How long the last try may stay open, milliseconds. A real fleet's is a day. [default: 10000]
        #[arg(long)]
        last_try_ms: Option<u64>,
        /// Failures after which an account locks, counted from its registration. [default: 100]
        #[arg(long)]
        lifetime_failures: Option<u32>,
        /// Without Postgres: metadata is always stale.
        #[arg(long)]
        no_postgres: bool,
        /// For `make bench` only: a development policy whose floor allows records without key stretching. `bkv` itself can't use it.
        #[arg(long, hide = true)]
        bench_no_ksf: bool,
    },
    /// Stop everything that `up` started. The folder stays.
    Down {
        #[command(flatten)]
        dir: DevDir,
    },
    /// What runs, where, and how it is.
    Status {
        #[command(flatten)]
        dir: DevDir,
    },
    /// Print tokens for a subject, as a real app would get them from its identity provider.
    Token {
        /// Who: any name.
        subject: String,
        #[command(flatten)]
        dir: DevDir,
        /// Valid for this many seconds.
        #[arg(long, default_value_t = 3600)]
        ttl: u64,
    },
    /// Stop, kill, pause or start one region.
    #[command(subcommand)]
    Region(RegionCommand),
}

#[derive(Debug, Args)]
pub(crate) struct Region {
    /// Its name.
    pub region: String,
    #[command(flatten)]
    pub dir: DevDir,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegionCommand {
    /// SIGTERM: it steps down first.
    Stop(Region),
    /// SIGKILL.
    Kill(Region),
    /// SIGSTOP: it hangs.
    Pause(Region),
    /// SIGCONT.
    Resume(Region),
    /// Start it again.
    Start(Region),
}
