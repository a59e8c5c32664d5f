//! `bkv-bench`: starts a fleet of real programs by `bkv dev up`, loads it through the SDK, and reports each cost beside its goal.
//!
//! Only `scripts/bench.sh` builds it, with the feature `identity-ksf`. `docs/benchmarks.md` explains how each number is measured.
#![forbid(unsafe_code)]
// Nothing of a binary is reachable from outside; items say pub(crate) where another module uses them.
#![allow(missing_docs, clippy::missing_docs_in_private_items)]

mod accounts;
mod args;
mod error;
mod gap;
mod idle;
mod load;
mod process;
mod profile;
mod records;
mod report;
mod run;
mod stack;
mod stats;
mod stream;

use thiserror_ext::AsReport as _;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match run::run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        // Measured, but a goal does not hold or could not be measured.
        Ok(false) => ExitCode::from(u8::from(args.strict)),
        Err(e) => {
            eprintln!("bkv-bench: {}", e.as_report());
            ExitCode::from(e.exit())
        }
    }
}
