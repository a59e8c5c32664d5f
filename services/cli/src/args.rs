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
                  20 a key is registered already · 21 the state is another account's · 22 the last try is open\n\
                  64 bad configuration · 65 backup damaged, foreign or rolled back · 66 input missing or unreadable\n\
                  69 vault or ChatD unreachable · 73 can't write the output · 77 token refused · 130 interrupted\n\n\
                  Passwords, keys and tokens are never arguments: they come from a prompt, a file or a file descriptor."
)]
pub(crate) struct Cli {
    /// Print one JSON object instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only results, warnings and errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a random backup key and store it in the vault, protected by a password.
    ///
    /// On a device that already has the account's key, this sets a new password for that key. It does not ask for the old password, because the key itself is
    /// the proof. After `bkv delete` it makes a new key and puts the deleted one aside. It refuses a device with a 64-digit key: that key is never sent anywhere.
    Register(Register),
    /// Get the key back with the password, and keep it in this device's state.
    ///
    /// If the state holds a 64-digit key or the key of another account, the command refuses before it spends a try.
    Recover(Recover),
    /// Encrypt a folder into one file in another folder, for example that of a cloud drive.
    ///
    /// Kept are files, folders, symbolic links, permission bits and times in whole seconds. Not kept: owners, extended attributes, set-user-id and set-group-id
    /// bits. Hard links become separate files. Pipes, sockets and devices are left out, and so is the backups' own folder if it lies in the folder that is
    /// backed up; the command lists them. A killed backup leaves a file that ends in `.partial`. The next backup of the same name removes it.
    Backup(Backup),
    /// Decrypt a backup. Nothing appears at the destination before the whole backup is proved genuine.
    ///
    /// Everything that can be checked without the vault is checked before a try is spent. With this device's own key and a token, the vault is asked which
    /// backup is the newest. If no vault answers, the command reports that. A killed restore leaves a folder beside the destination that ends in `.restoring` and
    /// that only you can read. The next restore to the same destination removes it.
    Restore(Restore),
    /// Show the state of your key, as the vaults sign it over a fresh nonce.
    Status(Online),
    /// Change the password.
    #[command(subcommand)]
    Password(PasswordCommand),
    /// Remove your key from the vault, for good.
    Delete(Delete),
    /// Use 64 hexadecimal digits instead of a password.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show a backup's header without its key.
    Inspect {
        /// A `.bkv` file.
        file: PathBuf,
    },
    /// Create a fleet's root key, show documents, sign them. Meant for a machine without network.
    #[command(subcommand)]
    Ceremony(CeremonyCommand),
    /// Run a whole fleet on this machine, to try the system. It protects nothing.
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
    /// Rename `last-try.json` in the device's state and go on without it: if it is broken, or if this device can't go on with its last try. If that try is
    /// open, the key is destroyed at its deadline, unless the file is put back or another device that has the key sets a new password before.
    #[arg(long)]
    pub set_aside_last_try: bool,
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
    /// A `.bkv` file, or a folder. From a folder the newest backup of this account and key is taken; the command lists the others.
    pub from: PathBuf,
    /// Where to write the restored folder. It must not exist yet.
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
    /// Prove the old password, then protect the same key by a new one.
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
    /// Don't ask for confirmation.
    #[arg(long)]
    pub yes: bool,
}

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
    /// Make a root key, and the root file that clients and vaults pin.
    Root {
        /// Where the private key goes (0600). Keep it off every network.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Where the root file goes. It is public: give it to everybody.
        #[arg(long, value_name = "FILE")]
        root: PathBuf,
    },
    /// Show every field of a document, with the fingerprints to compare aloud.
    Show {
        /// A document, signed or not.
        document: PathBuf,
        /// The root file, to check the signatures against.
        #[arg(long, value_name = "FILE")]
        root: Option<PathBuf>,
        /// The signed document before this one, to show what differs.
        #[arg(long, value_name = "FILE")]
        previous: Option<PathBuf>,
    },
    /// Sign an admission list or a policy.
    Sign {
        /// The unsigned (or partly signed) document.
        document: PathBuf,
        /// The root's private key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The root file. A document of another fleet is refused.
        #[arg(long, value_name = "FILE")]
        root: PathBuf,
        /// The signed document before this one, which the root must have signed. Shows what differs.
        #[arg(long, value_name = "FILE")]
        previous: Option<PathBuf>,
        /// Where the signed document goes.
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
        /// Don't ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
    /// Sign that a halted or quarantined replica may serve again. Find out first why it stopped.
    Lift(LiftArgs),
}

#[derive(Debug, Args)]
pub(crate) struct LiftArgs {
    /// The vault's node id, from its status.
    #[arg(long, value_name = "ID")]
    pub node: u64,
    /// The shard that has stopped.
    #[arg(long, value_name = "N")]
    pub shard: u16,
    /// The id of the stop, 32 hexadecimal digits, from the vault's status.
    #[arg(long, value_name = "HEX")]
    pub stop: String,
    /// The root's private key.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The root file.
    #[arg(long, value_name = "FILE")]
    pub root: PathBuf,
    /// What the other keys of the root have signed so far.
    #[arg(long, value_name = "FILE")]
    pub signed: Option<PathBuf>,
    /// Where the signed statement goes.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// Don't ask for confirmation.
    #[arg(long)]
    pub yes: bool,
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
        /// Number of regions: 1, 3 or 5. Like all of these options, it is fixed once the fleet is made. [default: 3]
        #[arg(long)]
        regions: Option<u8>,
        /// Number of shards. [default: 4]
        #[arg(long)]
        shards: Option<u16>,
        /// Milliseconds to wait after the 1st, 2nd … failure. In a real fleet these are minutes to days. [default: 0]
        #[arg(long, value_delimiter = ',')]
        waits_ms: Option<Vec<u64>>,
        /// Milliseconds that the last try may stay open. In a real fleet it is a day. [default: 10000]
        #[arg(long)]
        last_try_ms: Option<u64>,
        /// Number of failures after which an account locks, counted from its registration. [default: 100]
        #[arg(long)]
        lifetime_failures: Option<u32>,
        /// Run without Postgres. Metadata is then always stale.
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
    /// Show which programs run, on which ports, and their health.
    Status {
        #[command(flatten)]
        dir: DevDir,
    },
    /// Print tokens for a subject, as a real app would get them from its identity provider.
    Token {
        /// Name of the subject. Any name will do.
        subject: String,
        #[command(flatten)]
        dir: DevDir,
        /// Lifetime of the tokens in seconds, at most a day.
        #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        ttl: u64,
    },
    /// Stop, kill, pause or start one region.
    #[command(subcommand)]
    Region(RegionCommand),
}

#[derive(Debug, Args)]
pub(crate) struct Region {
    /// Name of the region.
    pub region: String,
    #[command(flatten)]
    pub dir: DevDir,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegionCommand {
    /// Send SIGTERM. The vault steps down first.
    Stop(Region),
    /// Send SIGKILL.
    Kill(Region),
    /// Send SIGSTOP. The vault hangs.
    Pause(Region),
    /// Send SIGCONT.
    Resume(Region),
    /// Start the vault again.
    Start(Region),
}
