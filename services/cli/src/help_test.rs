//! The text of every `--help` as a golden file: a change is read as a user would read it.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Command, CommandFactory as _};

use crate::commands::Cli;
use crate::exit::Exit;

fn render(command: &Command, path: &str, text: &mut String) {
    let mut shown = command.clone().term_width(100);
    let _ = writeln!(text, "$ {path} --help\n{}", shown.render_long_help());
    for sub in command.get_subcommands().filter(|s| s.get_name() != "help" && !s.is_hide_set()) {
        render(sub, &format!("{path} {}", sub.get_name()), text);
    }
}

fn all(command: &Command, found: &mut Vec<(String, clap::Arg)>) {
    found.extend(command.get_arguments().map(|a| (command.get_name().to_owned(), a.clone())));
    command.get_subcommands().for_each(|s| all(s, found));
}

#[test]
fn help_of_every_command_is_as_in_the_file() {
    let mut command = Cli::command();
    command.build();
    let mut text = String::new();
    render(&command, "bkv", &mut text);
    let text: String = text.lines().map(|l| l.trim_end().to_owned() + "\n").collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/help.txt");
    bkv_golden::same(&file, &text);
}

/// S37: process lists show arguments, so none takes a password, key or token: only a file or a descriptor that holds it.
#[test]
fn s37_no_argument_takes_a_secret() {
    let mut command = Cli::command();
    command.build();
    let mut found = Vec::new();
    all(&command, &mut found);
    let mut secret = 0;
    for (of, arg) in found {
        let id = arg.get_id().as_str();
        if !arg.get_action().takes_values()
            || !["password", "key", "token", "pin", "secret", "credentials"].iter().any(|w| id.contains(w))
        {
            continue;
        }
        secret += 1;
        let names: Vec<&str> =
            arg.get_value_names().unwrap_or_default().iter().map(clap::builder::Str::as_str).collect();
        assert!(names == ["FILE"] || names == ["N"], "{of} --{id} takes {names:?}");
    }
    assert!(secret >= 10, "the words that are looked for fit no argument any more");
}

#[test]
fn every_exit_code_is_in_the_help() {
    let mut help = Cli::command();
    let help = help.render_long_help().to_string();
    for exit in [
        Exit::Unexpected,
        Exit::Usage,
        Exit::Incomplete,
        Exit::NotNamed,
        Exit::WrongPassword,
        Exit::Wait,
        Exit::Gone,
        Exit::NoKey,
        Exit::Locked,
        Exit::WrongKey,
        Exit::FleetNotTrusted,
        Exit::RegionWrong,
        Exit::ClockWrong,
        Exit::PasswordRefused,
        Exit::KeyExists,
        Exit::OtherAccount,
        Exit::LastTry,
        Exit::Config,
        Exit::Damaged,
        Exit::NoInput,
        Exit::Unavailable,
        Exit::CantCreate,
        Exit::TokenRefused,
        Exit::Interrupted,
    ] {
        let code = (exit as u8).to_string();
        assert!(help.split(|c: char| !c.is_ascii_digit()).any(|n| n == code), "{exit:?} is not documented");
        assert!(!exit.word().is_empty());
    }
}
