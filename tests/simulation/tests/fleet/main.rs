//! Three real vaults under faults. Each test has a process of its own with three tokens, since SoftHSM reads its token directory once per process.
//!
//! `BKV_SCHEDULES` sets the number of random schedules, `BKV_SEED` the seed of the first one. A schedule that fails prints its seed.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod absence;
mod anchors;
mod bound_tokens;
mod budget;
mod clock_skew;
mod costs;
mod documents;
mod durability;
mod faults;
mod flood;
mod forward_secrecy;
mod ledgers;
mod missing_share;
mod other_z;
mod persons;
mod repetition;
mod shards;
mod unverified;
mod versions;

use std::process::ExitCode;

use bkv_harness::{Harness, cases};
use bkv_simulation::token;

fn main() -> ExitCode {
    if let Some(code) = token::run_role() {
        return code;
    }
    let cases = cases![
        token::simulate;
        absence::s55_a_region_that_hangs_delays_no_attestation,
        absence::s48_a_region_that_has_restarted_brings_another_up_to_date_alone,
        absence::s48_a_region_that_was_away_catches_up_from_one_other_alone,
        absence::s48_a_snapshot_that_takes_long_needs_no_second_one,
        anchors::s51_regions_that_stop_in_order_serve_while_another_is_away,
        anchors::s24_an_anchor_vouches_for_no_older_copy,
        bound_tokens::s46_a_seen_token_and_its_proofs_are_of_no_use,
        bound_tokens::s46_a_token_that_names_a_key_needs_its_proof_under_every_policy,
        bound_tokens::s46_a_person_with_the_key_needs_nothing_else,
        budget::s09_the_tenth_may_succeed_though_the_leader_dies_and_the_eleventh_is_refused,
        budget::s09_s10_no_schedule_gives_more_guesses_than_the_budget,
        budget::s10_concurrent_guesses_never_exceed_the_budget,
        clock_skew::s40_a_leader_that_is_ahead_makes_no_wait_pass,
        clock_skew::s40_a_region_that_catches_up_does_not_skip_the_wait,
        clock_skew::s40_a_leader_far_ahead_steps_aside,
        clock_skew::s40_a_leader_far_behind_does_not_turn_time_back_and_steps_aside,
        costs::a_recovery_costs_the_tokens_one_signature_and_two_hmacs,
        documents::s26_a_vault_obeys_the_list_that_it_has_applied,
        documents::s26_a_hanging_issuer_does_not_delay_an_eviction,
        documents::s26_a_vault_takes_the_newer_list_of_another_vault,
        durability::s08_power_goes_at_every_sync_of_an_attempt,
        durability::s08_all_power_goes_as_a_region_evaluates,
        durability::s08_answers_are_lost_on_every_way,
        durability::s08_a_registration_that_expires_takes_no_floor_with_it,
        faults::s27_a_vault_whose_disk_refuses_ends_and_loses_nothing,
        faults::s27_three_full_disks_refuse_and_lose_nothing,
        faults::s27_a_vault_starts_on_a_full_disk,
        faults::s27_slow_and_hanging_disks_cost_time_only,
        faults::s27_dead_tokens_are_named,
        faults::s27_hanging_tokens_are_named,
        faults::s27_a_leader_that_was_paused_answers_nothing_old,
        faults::s27_clocks_that_jump_cost_nothing,
        flood::s50_eight_right_passwords_at_once_cost_no_try,
        flood::s50_junk_of_one_token_holder_cuts_no_link,
        forward_secrecy::s54_deleted_generations_do_not_open_with_what_the_vaults_give_later,
        ledgers::s54_v_is_given_to_nobody_without_the_owners_signature,
        ledgers::s54_a_replaced_v_is_erased_in_every_regions_row,
        missing_share::s48_a_region_without_its_share_asks_the_others_for_it,
        persons::s11_a_key_that_the_regions_refuse_begins_nothing,
        persons::s11_a_last_try_whose_token_the_regions_refuse_is_not_begun,
        persons::s11_a_token_that_ends_soon_begins_nothing,
        other_z::s43_a_z_that_does_not_fit_is_no_wrong_password,
        persons::s46_no_region_evaluates_without_the_persons_token,
        repetition::s11_the_same_attempt_gets_the_same_bytes_from_a_new_leader,
        repetition::s09_evaluations_of_a_last_try_need_its_begin,
        repetition::s13_an_attempt_id_used_again_does_not_reach_the_old_share,
        shards::s47_a_policy_with_another_number_of_shards_is_refused,
        versions::s52_vaults_are_updated_one_by_one_while_people_recover,
        versions::s52_a_vault_that_missed_the_raise_stops_behind_it,
        versions::s52_a_vault_that_needs_a_snapshot_of_a_newer_version_says_so,
        unverified::s24_a_quarantined_region_neither_evaluates_nor_attests_nor_acknowledges,
    ];
    Harness { prepare: Box::new(token::prepare), deadline: token::deadline(), skip: token::missing() }
        .run(cases)
}
