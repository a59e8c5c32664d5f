//! Offline attacks on a real run: a fleet of real processes is used, stopped and seized. The attacker then reads what root reads of one region, of two
//! or of all, with their tokens and PINs, and runs every test of a password that such data permits.
//!
//! Each attack has a process of its own, since SoftHSM reads its token directory once per process.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod dictionary;
mod guess;
mod proofs;
mod remains;
mod seized;
mod seizure;
mod shares;

use std::process::{Command, ExitCode};
use std::sync::LazyLock;
use std::time::Duration;

use bkv_harness::{Harness, cases};
use tempfile::TempDir;

fn main() -> ExitCode {
    let cases = cases![
        dictionary::s39_everything_of_one_region_tests_no_password,
        dictionary::s39_with_two_regions_the_same_dictionary_finds_it,
        proofs::s42_a_real_runs_log_seeds_and_proofs_give_no_share,
        remains::s13_s14_nothing_of_what_ended_is_in_any_live_row,
        remains::s14_the_scan_finds_what_is_to_end,
        remains::s25_a_row_opens_in_no_other_vaults_store,
        shares::s44_a_sealed_share_opens_for_its_record_and_region_only,
    ];
    // The first attack that is selected waits for the run; all others use the same.
    let seized: LazyLock<TempDir> = LazyLock::new(seizure::seize_a_real_run);
    let prepare = move |command: &mut Command| seizure::hand_over(seized.path(), command);
    Harness { prepare: Box::new(prepare), deadline: Duration::from_mins(10), skip: None }.run(cases)
}
