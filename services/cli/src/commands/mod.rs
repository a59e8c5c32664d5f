//! The command line: one file for each command and its options, or for a few that belong together.

mod account;
mod backup;
mod candidates;
mod ceremony;
mod connection;
mod fetch;
mod inspect;
mod interrupt;
mod key;
mod last_try;
mod lift;
mod ownership;
mod recover;
mod register;
mod restore;
mod saved;
mod show;
mod token_key;

pub(crate) use ceremony::make_root;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::args::Online;
use crate::exit::Outcome;
use crate::output::Output;

/// End-to-end encrypted backups whose key only you can get back.
#[derive(Debug, Parser)]
#[command(
    name = "bkv",
    version,
    max_term_width = 110,
    after_help = "Exit codes: 0 done · 1 unexpected · 2 usage, or not confirmed · 10 wrong password · 11 wait · 12 destroyed or deleted · 13 no key · 14 locked\n\
                  15 wrong key · 16 fleet not trusted · 17 a region answered wrongly · 18 clock wrong · 19 password refused\n\
                  20 a key is registered already · 21 the state is another account's · 22 the last try is open\n\
                  64 bad configuration · 65 backup or document damaged, foreign or rolled back · 66 input missing or unreadable\n\
                  69 vault or ChatD unreachable · 73 can't write the output · 77 token refused · 130 interrupted\n\n\
                  Passwords, keys and tokens are never arguments: they come from a prompt, a file or a file descriptor.\n\n\
                  One command at a time changes the key of a state folder, and one backup at a time uses it. Another one ends with 11 and changes nothing.\n\n\
                  Ctrl-C, SIGTERM and a closed terminal end a command with 130. It removes its incomplete files, and its error names what may have been sent."
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
    Register(register::Register),
    /// Get the key back with the password, and keep it in this device's state.
    ///
    /// If the state holds a 64-digit key or the key of another account, the command refuses before it spends a try.
    Recover(recover::Recover),
    /// Encrypt a folder into one file in another folder, for example that of a cloud drive.
    ///
    /// Kept are files, folders, symbolic links, permission bits and times in whole seconds. Not kept: owners, extended attributes, set-user-id and set-group-id
    /// bits. Hard links become separate files. Pipes, sockets and devices are left out, and so is the backups' own folder if it lies in the folder that is
    /// backed up; the command lists them. A killed backup leaves a file that ends in `.partial`. The next backup of the same name removes it.
    ///
    /// Each backup has a number: one above all that this device, the vault and the folder know for this key, whatever the name of the series. A restore takes the highest.
    Backup(backup::Backup),
    /// Decrypt a backup. Nothing appears at the destination before the whole backup is proved genuine.
    ///
    /// Everything that can be checked without the vault is checked before a try is spent. With this device's own key and a token, the vault is asked which
    /// backup is the newest. If no vault answers, the command reports that. A killed restore leaves a folder beside the destination that ends in `.restoring` and
    /// that only you can read. The next restore to the same destination removes it. Files and folders get the permission bits of the backup, except those that your
    /// umask takes away. To restore all bits, set the umask to 0 first.
    Restore(restore::Restore),
    /// Show the state of your key, as the vaults sign it over a fresh nonce.
    Status(Online),
    /// Change the password.
    #[command(subcommand)]
    Password(account::PasswordCommand),
    /// Remove your key from the vault, for good.
    Delete(account::Delete),
    /// Use 64 hexadecimal digits instead of a password.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Show the key to which your tokens can be bound, and make it if this device has none.
    ///
    /// An identity provider that binds tokens (DPoP, RFC 9449) puts the key's thumbprint into the claim `cnf.jkt`. Without the key such a token is of no use to a thief. The
    /// private key is in `token-key.pem` in this device's state. A program that fetches your tokens may put its own key there: Ed25519 or P-256, PKCS#8 in PEM.
    TokenKey(token_key::ShowTokenKey),
    /// Show a backup's header without its key.
    Inspect {
        /// A `.bkv` file.
        file: PathBuf,
    },
    /// Create a fleet's root key, show documents, sign them. Meant for a machine without network.
    #[command(subcommand)]
    Ceremony(ceremony::CeremonyCommand),
    /// Run a whole fleet on this machine, to try the system. It protects nothing.
    #[command(subcommand)]
    Dev(crate::dev::DevCommand),
}

pub(crate) async fn run(cli: Cli) -> Outcome {
    let out = Output { json: cli.json, quiet: cli.quiet };
    match cli.command {
        Command::Register(a) => register::register(out, a).await,
        Command::Recover(a) => recover::recover(out, a).await,
        Command::Status(a) => account::status(out, a).await,
        Command::Password(a) => account::password(out, a).await,
        Command::Delete(a) => account::delete(out, a).await,
        Command::Backup(a) => backup::run(out, a).await,
        Command::Restore(a) => restore::run(out, a).await,
        Command::Inspect { file } => inspect::inspect(out, &file),
        Command::Key(a) => key::run(out, a),
        Command::TokenKey(a) => token_key::run(out, &a),
        Command::Ceremony(a) => ceremony::run(out, a),
        Command::Dev(a) => crate::dev::run(out, a).await,
    }
}
