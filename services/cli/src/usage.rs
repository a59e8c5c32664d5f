//! Arguments that clap refuses, and the texts of `--help` and `--version`.

use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::exit::{Exit, Failure};
use crate::output::{Output, to_stdout};

/// Ends a command line that names no command to run. A usage error is JSON too, because a script that reads JSON must not find text.
pub(crate) fn ended(e: &clap::Error) -> ExitCode {
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
    if out.json {
        out.failure(&failure(e));
    } else {
        let _ = e.print();
    }
    ExitCode::from(Exit::Usage as u8)
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
