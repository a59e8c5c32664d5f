//! `bkv`: the SDK for a shell, and `bkv dev`, a whole fleet on one machine.
#![forbid(unsafe_code)]
// Nothing of a binary is reachable from outside; items say pub(crate) where another module uses them.
#![allow(missing_docs, clippy::missing_docs_in_private_items)]

mod args;
mod backups;
mod commands;
mod dev;
mod device;
mod exit;
mod failure;
#[cfg(test)]
mod help_test;
mod legible;
mod output;
mod profile;
mod progress;
mod secret_input;
mod signals;
mod usage;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

use crate::exit::{Exit, Failure};
use crate::output::Output;

fn main() -> ExitCode {
    if let Some(code) = bkv_hsm::softhsm::run_child_if_asked() {
        return code;
    }
    // Before a password or key is in memory: no core file may hold one.
    let hardened = bkv_client::harden();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = match commands::Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage::ended(e),
    };
    let out = Output { json: cli.json, quiet: cli.quiet };
    if let Err(e) = hardened {
        out.warning(&format!(
            "Core dumps can't be turned off here ({e}): a crash could leave a password on the disk."
        ));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(async {
            signals::watch(out);
            commands::run(cli).await
        }),
        Err(e) => Err(Failure::new(Exit::Unexpected, format!("no runtime: {e}"))),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out.failure(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}
