//! Parses the command line.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Invocation {
    /// Print the help.
    Help,
    /// Print the version.
    Version,
    /// Copy the program itself.
    Install {
        /// A folder, or a new file's name.
        destination: PathBuf,
    },
    /// Copy files and folders.
    Copy {
        /// The folder that stands for `/`.
        destination: PathBuf,
        /// The paths to copy, absolute and without `..`.
        paths: Vec<PathBuf>,
    },
}

/// A command line that can't be parsed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArgumentError {
    /// No command.
    #[error("no command: install or copy")]
    NoCommand,
    /// Neither `install` nor `copy`.
    #[error("unknown command {0:?}")]
    UnknownCommand(OsString),
    /// An unknown option.
    #[error("unknown option {0:?}")]
    UnknownOption(OsString),
    /// `install` without DEST, or with more.
    #[error("install takes exactly one DEST")]
    InstallDestination,
    /// `copy` without `--to`, with two of them, or with `--to` and no value.
    #[error("copy takes one --to DIR")]
    CopyDestination,
    /// No path to copy. An empty list in a configuration is an error, not success.
    #[error("copy takes at least one PATH")]
    NoPaths,
    /// A path that is relative or contains `..`, so that its place below the destination is not obvious.
    #[error("{0:?} must be absolute and without '..'")]
    NotPlain(PathBuf),
}

/// Parses the arguments after the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, ArgumentError> {
    let mut arguments = arguments.into_iter();
    let command = arguments.next().ok_or(ArgumentError::NoCommand)?;
    match command.to_str() {
        Some("--help" | "-h" | "help") => Ok(Invocation::Help),
        Some("--version" | "-V") => Ok(Invocation::Version),
        Some("install") => parse_install(arguments),
        Some("copy") => parse_copy(arguments),
        _ => Err(ArgumentError::UnknownCommand(command)),
    }
}

fn parse_install(mut rest: impl Iterator<Item = OsString>) -> Result<Invocation, ArgumentError> {
    match (rest.next(), rest.next()) {
        (Some(one), None) if is_option(&one) => Err(ArgumentError::UnknownOption(one)),
        (Some(one), None) if !one.is_empty() => Ok(Invocation::Install { destination: one.into() }),
        _ => Err(ArgumentError::InstallDestination),
    }
}

fn parse_copy(mut rest: impl Iterator<Item = OsString>) -> Result<Invocation, ArgumentError> {
    let mut destination = None;
    let mut paths = Vec::new();
    while let Some(argument) = rest.next() {
        if argument == "--to" {
            let folder = rest.next().filter(|f| !f.is_empty()).ok_or(ArgumentError::CopyDestination)?;
            if destination.replace(PathBuf::from(folder)).is_some() {
                return Err(ArgumentError::CopyDestination);
            }
        } else if is_option(&argument) {
            return Err(ArgumentError::UnknownOption(argument));
        } else {
            let path = PathBuf::from(argument);
            if !is_plain(&path) {
                return Err(ArgumentError::NotPlain(path));
            }
            paths.push(path);
        }
    }
    let destination = destination.ok_or(ArgumentError::CopyDestination)?;
    if paths.is_empty() {
        return Err(ArgumentError::NoPaths);
    }
    Ok(Invocation::Copy { destination, paths })
}

fn is_option(argument: &OsString) -> bool {
    argument.as_encoded_bytes().starts_with(b"-")
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|c| c == Component::ParentDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> Result<Invocation, ArgumentError> {
        parse(line.iter().map(OsString::from))
    }

    #[test]
    fn both_commands_are_read() {
        assert_eq!(parsed(&["install", "/hsm"]), Ok(Invocation::Install { destination: "/hsm".into() }));
        let copy = Invocation::Copy { destination: "/hsm".into(), paths: vec!["/opt/a".into(), "/b".into()] };
        assert_eq!(parsed(&["copy", "/opt/a", "--to", "/hsm", "/b"]), Ok(copy));
        assert_eq!(parsed(&["--version"]), Ok(Invocation::Version));
        assert_eq!(parsed(&["--help"]), Ok(Invocation::Help));
    }

    #[test]
    fn bad_arguments_are_refused_and_named() {
        use ArgumentError as E;
        let cases: [(&[&str], E); 11] = [
            (&[], E::NoCommand),
            (&["move"], E::UnknownCommand("move".into())),
            (&["install"], E::InstallDestination),
            (&["install", ""], E::InstallDestination),
            (&["install", "/a", "/b"], E::InstallDestination),
            (&["copy", "/a"], E::CopyDestination),
            (&["copy", "/a", "--to"], E::CopyDestination),
            (&["copy", "--to", "/x", "--to", "/y", "/a"], E::CopyDestination),
            (&["copy", "--to", "/x"], E::NoPaths),
            (&["copy", "--force", "--to", "/x", "/a"], E::UnknownOption("--force".into())),
            (&["copy", "--to", "/x", "/opt/../etc"], E::NotPlain("/opt/../etc".into())),
        ];
        for (line, error) in cases {
            assert_eq!(parsed(line), Err(error), "{line:?}");
        }
        assert_eq!(parsed(&["copy", "--to", "/x", "lib.so"]), Err(E::NotPlain("lib.so".into())));
    }
}
