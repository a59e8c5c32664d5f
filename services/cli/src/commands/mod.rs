//! One file a command, or a few that belong together.

mod backup;
mod ceremony;
mod key;
mod online;
mod restore;

pub(crate) use ceremony::make_root;

use crate::args::{Cli, Command};
use crate::exit::Outcome;
use crate::output::Output;

pub(crate) async fn run(cli: Cli) -> Outcome {
    let out = Output { json: cli.json, quiet: cli.quiet };
    match cli.command {
        Command::Register(a) => online::register(out, a).await,
        Command::Recover(a) => online::recover(out, a).await,
        Command::Status(a) => online::status(out, a).await,
        Command::Password(a) => online::password(out, a).await,
        Command::Delete(a) => online::delete(out, a).await,
        Command::Backup(a) => backup::run(out, a).await,
        Command::Restore(a) => restore::run(out, a).await,
        Command::Inspect { file } => restore::inspect(out, &file),
        Command::Key(a) => key::run(out, a),
        Command::Ceremony(a) => ceremony::run(out, a),
        Command::Dev(a) => crate::dev::run(out, a).await,
    }
}
