//! The command line: one file for each command and its options, or for a few that belong together.

mod account;
mod backup;
mod backup_options;
mod backups;
mod candidates;
mod cat;
mod ceremony;
pub(crate) mod connection;
mod copy;
mod diff;
mod fetch;
mod find;
mod forget;
mod inspect;
mod interrupt;
mod key;
mod last_try;
mod lift;
mod ls;
pub(crate) mod ownership;
mod prune;
mod recover;
mod register;
mod repair;
mod restore;
mod saved;
mod series_backup;
mod series_restore;
mod show;
mod single_backup;
mod single_restore;
mod take_back;
mod token_key;
mod verify;
mod writers;

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
    after_help = "Exit codes: 0 done · 1 unexpected · 2 usage, or not confirmed · 3 made, but incomplete · 4 made, but the vault does not know it · 10 wrong password · 11 wait · 12 destroyed or deleted · 13 no key · 14 locked\n\
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
    /// Encrypt folders into another folder, for example that of a cloud drive.
    ///
    /// Each backup is a generation of a series and stores only what has changed since the one before. `bkv backups` lists them, `bkv ls`, `find`, `diff` and `cat` look into
    /// them, and `bkv restore` restores any of them. Kept are files, folders, symbolic and hard links, holes, permission bits, extended attributes, access control lists and
    /// times to the nanosecond. Pipes, sockets and devices are left out, and so are this device's state and the backups themselves; the command lists them. A file that
    /// can't be read costs itself only: it is listed, and the command ends with 3. A killed backup leaves the last generation whole.
    /// Example: `bkv backup ~/Documents --to /mnt/disk --exclude '*.tmp'`
    ///
    /// A single file (`--form file`, or `--to` with a path that ends in `.bkv` or with `-`) has everything in it each time, and keeps the same of each file. The key alone opens
    /// it. No vault knows of it, so nobody can notice if an older one is served. A killed backup leaves nothing.
    /// Examples: `bkv backup ~/Documents --to - | ssh host 'cat > documents.bkv'`, `pg_dump db | bkv backup --stdin-name db.sql --to /mnt/disk`
    ///
    /// `--form old-file` makes a file that earlier versions of `bkv` read. It keeps no owners, extended attributes, hard links or parts of seconds. A killed backup leaves a
    /// file that ends in `.partial`, which the next one of the same name removes. Each has a number, one above all that this device, the vault and the folder know for this
    /// key. A restore takes the highest.
    Backup(backup_options::Backup),
    /// Decrypt a backup. Nothing appears at the destination before the whole backup is proved genuine.
    ///
    /// Of a series it takes the newest generation, or the one that `--generation` or `--at` names: `bkv restore /mnt/disk --to ~/back --at 2026-11-29`. Of single files in a
    /// folder it takes the newest of this account and key. Where both lie, it takes the series and warns.
    ///
    /// Everything that can be checked without the vault is checked before a try is spent. With this device's own key and a token, the vault is asked which
    /// backup is the newest. If no vault answers, the command reports that. A killed restore leaves a folder beside the destination that ends in `.restoring` and
    /// that only you can read. The next restore to the same destination removes it. Files and folders get the permission bits of the backup, except those that your
    /// umask takes away. To restore all bits, set the umask to 0 first.
    Restore(series_restore::Restore),
    /// List the backups in a folder: devices, series and generations.
    ///
    /// For each generation it shows when it was made, the size of its content, how much of that was new, and whether it is complete. It reads the writers' ledgers, and no
    /// content. Example: `bkv backups /mnt/disk`
    #[command(visible_alias = "snapshots")]
    Backups(backups::Backups),
    /// List the files of a generation.
    ///
    /// Paths are relative to the folder that was backed up. Example: `bkv ls /mnt/disk letters --long`
    Ls(ls::Ls),
    /// Look for files by name in all generations, and show which of them have a file.
    ///
    /// Example: `bkv find /mnt/disk 'tax-*.pdf'`
    Find(find::Find),
    /// Compare two generations of a series.
    ///
    /// Lines begin with `+` for an added entry, `-` for a removed one, `M` for changed content, `T` for another kind, `U` for changed attributes.
    /// Example: `bkv diff /mnt/disk 3 latest`
    Diff(diff::Diff),
    /// Write the content of one file to standard output.
    ///
    /// What is written is authentic. That the file is whole is proved at its end, so look at the exit code. Example: `bkv cat /mnt/disk letters/june.txt > june.txt`
    Cat(cat::Cat),
    /// Read all data of the backups in a folder, and prove that it can be restored.
    ///
    /// It ends with 65 and names each object that is damaged or missing. With `--repair` it also marks in this device's ledger which data is damaged. The next backup
    /// stores the marked data again if the source still has it, and older generations with the same content then read again. It can't bring back what the source no longer
    /// has, nor the list of files of a generation, nor data of another device. Example: `bkv verify /mnt/disk --generation latest`
    Verify(verify::Verify),
    /// Copy the backups in a folder to a second one, such as another disk.
    ///
    /// The copy has the same objects and opens with the same key. `bkv backups`, `ls`, `restore` and the other commands take it like the first folder. Each object is proved
    /// genuine before it is written, and read back. What is there already is not copied again, so a copy that was stopped goes on where it was, and the next copy takes only
    /// what is new. It does not read what the second folder lists already: `bkv verify` of that folder does. After a prune has replaced V, older copies open for 7 more days only: copy again.
    /// Nothing at the second folder is overwritten or deleted. The command ends with 3 if an object could not be copied. It leaves single files (.bkv) out.
    /// Example: `bkv copy /mnt/disk --to /mnt/second`
    Copy(copy::CopyArgs),
    /// Let old generations of this device go.
    ///
    /// What no rule keeps is condemned: it is no longer listed, and `--undo` brings it back. The first prune seven days later deletes its data. The newest complete
    /// generation of a series always stays. When data is deleted, the vault gets a new V: 7 days later copies that `bkv copy` made before open no more, so copy again. Times are those of this device's zone. A generation that is damaged stops a prune by rules, because it is not known what it needs:
    /// `--drop` condemns it by its number.
    /// Example: `bkv prune /mnt/disk --keep-daily 7 --keep-weekly 4 --keep-monthly 12`
    Prune(prune::Prune),
    /// List the writers that the vault knows: one for each device at each destination.
    ///
    /// The vault keeps the number of each writer's newest ledger, and V, without which another device can't open its backups. It keeps at most 16. If the key was destroyed or
    /// deleted, the list shows until when the vault gives V.
    Writers(Online),
    /// Let the vault forget a writer that is no longer used, such as that of a lost device.
    ///
    /// The vault keeps it for 7 more days. A backup by its device before then takes this back. After that only that device opens its backups, and an account has room for
    /// another writer. Nothing at the destination is deleted. Example: `bkv forget 1f0e9c2a`
    Forget(forget::Forget),
    /// Take back the V of a writer that a thief of your key has replaced, and the generations that only it opens.
    ///
    /// Whoever has your key and a sign-in can replace V at the vault. Then no ledger opens any more, on any device but the writer's own. The vault keeps the V before it for 7 days:
    /// `bkv writers` shows until when. In that time this command brings back all generations whose data is still at the destination, and keeps those that were made since. It
    /// needs no state of the writer's device, whose next backup begins a new writer. It changes nothing if no generation comes back, as after a prune of your own, which has
    /// deleted their data. If the ledger that the vault names is not in this folder, it asks first: what only that ledger lists is given up. Example: `bkv take-back /mnt/disk 1f0e9c2a`
    TakeBack(take_back::TakeBack),
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
        Command::Backup(a) => series_backup::run(out, a).await,
        Command::Restore(a) => series_restore::run(out, a).await,
        Command::Backups(a) => backups::run(out, &a).await,
        Command::Ls(a) => ls::run(out, &a).await,
        Command::Find(a) => find::run(out, &a).await,
        Command::Diff(a) => diff::run(out, &a).await,
        Command::Cat(a) => cat::run(out, &a).await,
        Command::Verify(a) => verify::run(out, a).await,
        Command::Writers(a) => writers::run(out, &a).await,
        Command::Forget(a) => forget::run(out, a).await,
        Command::TakeBack(a) => take_back::run(out, a).await,
        Command::Copy(a) => copy::run(out, a).await,
        Command::Prune(a) => prune::run(out, a).await,
        Command::Inspect { file } => inspect::inspect(out, &file),
        Command::Key(a) => key::run(out, a),
        Command::TokenKey(a) => token_key::run(out, &a),
        Command::Ceremony(a) => ceremony::run(out, a),
        Command::Dev(a) => crate::dev::run(out, a).await,
    }
}
