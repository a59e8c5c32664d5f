//! Sends seeds to the handlers, the same ones in each run. Each target has a process of its own.
//!
//! `BKV_INPUTS` sets the number of seeds, `BKV_FROM` the first one: with more of them, this is a fuzzer without coverage. A failure prints the seed last.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::ExitCode;
use std::time::Duration;

use bkv_fuzz::links::Links;
use bkv_fuzz::peers::Attack;
use bkv_fuzz::regions::Regions;
use bkv_fuzz::relay::Relay;
use bkv_fuzz::requests::Requests;
use bkv_fuzz::target::Target;
use bkv_fuzz::websocket::Websocket;
use bkv_fuzz::{process, seeds};
use bkv_harness::{Case, Harness};
use bkv_simulation::token;

/// Inputs about one person or shard: few, so that the checks at their end are made, too.
const SHARE: u32 = 10;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |n| n.parse().unwrap())
}

fn inputs() -> u64 {
    number("BKV_INPUTS", 40)
}

fn send<T: Target>() {
    process::watch();
    let first = number("BKV_FROM", 0);
    process::runtime().block_on(async {
        let mut live = None;
        for seed in first..first + inputs() {
            eprintln!("seed {seed}");
            T::feed(&mut live, SHARE, &seeds::seed::<T>(seed)).await;
        }
        if let Some(target) = live {
            target.end().await;
        }
    });
}

fn s38_s49_seeds_of_a_rooted_vault_end_no_replica() {
    send::<Attack>();
}

fn s38_s46_seeds_of_a_rooted_leader_evaluate_nothing_without_a_token() {
    send::<Regions>();
}

fn s38_s10_seeds_of_a_client_get_no_guess_beyond_the_budget() {
    send::<Requests>();
}

fn s38_seeds_of_a_rooted_chatd_end_no_vault() {
    send::<Relay>();
}

fn s38_seeds_of_a_websocket_end_no_chatd() {
    send::<Websocket>();
}

fn s38_seeds_of_a_rooted_vault_end_no_chatd() {
    send::<Links>();
}

macro_rules! cases {
    ($($test:ident),* $(,)?) => { vec![$(Case::new(stringify!($test), $test)),*] };
}

fn main() -> ExitCode {
    if let Some(code) = token::run_role() {
        return code;
    }
    let cases = cases![
        s38_s49_seeds_of_a_rooted_vault_end_no_replica,
        s38_s46_seeds_of_a_rooted_leader_evaluate_nothing_without_a_token,
        s38_s10_seeds_of_a_client_get_no_guess_beyond_the_budget,
        s38_seeds_of_a_rooted_chatd_end_no_vault,
        s38_seeds_of_a_websocket_end_no_chatd,
        s38_seeds_of_a_rooted_vault_end_no_chatd,
    ];
    let deadline = Duration::from_secs(240 + 10 * inputs());
    Harness { prepare: Box::new(token::prepare), deadline, skip: token::missing() }.run(cases)
}
