//! What a destination, a crash, a vault or an attacker can do, and what is reported.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation)]

#[path = "../common/mod.rs"]
mod common;
mod ledgers;
mod objects;
mod prune;
mod take_back;

use bkv_backups::{Error, Which};
use common::*;

fn bench() -> Bench {
    let bench = Bench::default();
    fill(&bench.source());
    bench
}

fn the_error(bench: &Bench) -> Error {
    bench.restore("docs", Which::Latest).unwrap_err()
}
