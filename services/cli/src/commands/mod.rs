//! The commands: one file for each, or for a few that belong together.

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

pub(crate) use ceremony::make_root;

use crate::args::{Cli, Command};
use crate::exit::Outcome;
use crate::output::Output;

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
        Command::Ceremony(a) => ceremony::run(out, a),
        Command::Dev(a) => crate::dev::run(out, a).await,
    }
}
