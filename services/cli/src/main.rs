//! `bkv`: the SDK for a shell, and `bkv dev`, a whole fleet on one machine.
#![forbid(unsafe_code)]
// Nothing of a binary is reachable from outside; items say pub(crate) where another module uses them.
#![allow(missing_docs, clippy::missing_docs_in_private_items)]
// Until the commands behind the arguments are in.
#![allow(dead_code)]

mod args;
mod exit;
mod output;
mod progress;
mod secret_input;

fn main() {
    use clap::Parser as _;
    let _ = args::Cli::parse();
}
