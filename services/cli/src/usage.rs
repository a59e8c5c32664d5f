//! Arguments that clap refuses, and the texts of `--help` and `--version`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::exit::{Exit, Failure};
use crate::legible;
use crate::output::{Output, to_stdout};

/// Ends a command line that names no command to run. A usage error is JSON too, because a script that reads JSON must not find text.
pub(crate) fn ended(mut e: clap::Error) -> ExitCode {
    let out = Output { json: std::env::args_os().any(|a| a == "--json"), quiet: false };
    if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let text = e.to_string();
        return match to_stdout(text.trim_end()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                out.failure(&failure.remedy("Make room or choose another output."));
                ExitCode::from(Exit::CantCreate as u8)
            }
        };
    }
    hide(&mut e);
    if out.json {
        out.failure(&failure(&e));
    } else {
        let _ = writeln!(std::io::stderr(), "{}", legible::lines(e.to_string().trim_end()));
    }
    ExitCode::from(Exit::Usage as u8)
}

/// Hides what may be a password, key or token that was typed as an argument by mistake: the error may end up in a log. Clap would repeat it, and raw.
fn hide(e: &mut clap::Error) {
    let hidden = || ContextValue::String("(not shown)".to_owned());
    let text = |e: &clap::Error, kind| match e.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    match e.kind() {
        // An option that is unknown is shown. A word without dashes can be anything.
        ErrorKind::UnknownArgument if !text(e, ContextKind::InvalidArg).starts_with('-') => {
            e.insert(ContextKind::InvalidArg, hidden());
            e.remove(ContextKind::Suggested);
        }
        // A word that resembles a command is a typo of it.
        ErrorKind::InvalidSubcommand if e.get(ContextKind::SuggestedSubcommand).is_none() => {
            e.insert(ContextKind::InvalidSubcommand, hidden());
            e.remove(ContextKind::Suggested);
        }
        ErrorKind::TooManyValues => {
            e.insert(ContextKind::InvalidValue, hidden());
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
            if text(e, ContextKind::InvalidArg).contains("-fd ") =>
        {
            e.insert(ContextKind::InvalidValue, hidden());
        }
        _ => {}
    }
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        let shown = legible::line(&text(e, kind)).into_owned();
        if !shown.is_empty() {
            e.insert(kind, ContextValue::String(shown));
        }
    }
}

fn failure(e: &clap::Error) -> Failure {
    let text = e.to_string();
    // Clap writes the message, then a blank line and the usage.
    let message = text.split("\n\n").next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let message: Vec<&str> = message.lines().map(str::trim).collect();
    let message = if e.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        "a command is missing".to_owned()
    } else {
        message.join(" ")
    };
    Failure::new(Exit::Usage, message).remedy("Look at `bkv --help`, or at the command's own --help.")
}
