//! Copies files out of a vendor's image. It runs in that image, which may not even contain a C library, so it is linked statically and has few
//! dependencies. Only arguments, output and exit codes live here.

mod arguments;
mod file;
mod install;
mod resolve;
mod tree;

use std::path::Path;
use std::process::ExitCode;

use thiserror_ext::AsReport as _;

use arguments::Invocation;

const HELP: &str = include_str!("help.txt");
const USAGE: u8 = 2;
const REFUSED: u8 = 65;
const NO_INPUT: u8 = 66;
const CANNOT_WRITE: u8 = 73;

fn main() -> ExitCode {
    match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Help) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Invocation::Version) => {
            println!("copier {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Ok(Invocation::Install { destination }) => end(install::install(&destination)
            .map(|at| format!("installed {}", at.display()))
            .map_err(|e| (file_exit(&e), e.into()))),
        Ok(Invocation::Copy { destination, paths }) => end(copy(&destination, &paths)),
        Err(error) => {
            eprintln!("copier: {error}; see --help");
            ExitCode::from(USAGE)
        }
    }
}

type Failed = (u8, Box<dyn std::error::Error>);

fn copy(destination: &Path, paths: &[std::path::PathBuf]) -> Result<String, Failed> {
    let mut left_out = |omitted: &tree::Omitted| eprintln!("copier: left out: {omitted}");
    let mut tree = tree::Tree::open(Path::new("/"), destination, &mut left_out)
        .map_err(|e| (tree_exit(&e), Box::from(e)))?;
    for path in paths {
        tree.copy(path).map_err(|e| (tree_exit(&e), Box::from(e)))?;
    }
    let done = tree.done();
    Ok(format!("copied {} files, {} bytes, to {}", done.files, done.bytes, destination.display()))
}

fn tree_exit(error: &tree::TreeError) -> u8 {
    use resolve::ResolveError as R;
    use tree::TreeError as T;
    match error {
        T::Resolve(R::Missing { .. } | R::Unreadable { .. }) | T::List { .. } => NO_INPUT,
        T::Resolve(_) | T::Special { .. } | T::TooMany => REFUSED,
        T::Folder { .. } => CANNOT_WRITE,
        T::File(error) => file_exit(error),
    }
}

fn file_exit(error: &file::FileError) -> u8 {
    match error {
        file::FileError::Read { .. } => NO_INPUT,
        file::FileError::Write { .. } => CANNOT_WRITE,
    }
}

fn end(outcome: Result<String, Failed>) -> ExitCode {
    match outcome {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err((code, error)) => {
            eprintln!("copier: {}", error.as_report());
            ExitCode::from(code)
        }
    }
}
