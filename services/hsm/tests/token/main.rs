//! The token crate on real modules: SoftHSM and Kryoptic. A module reads its configuration once per process, so each test runs in a child process of
//! its own with its own token directory.
// Clippy's exception for tests covers only functions with the attribute, not the functions that they call.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod attack;
mod faults;
mod keys;
mod setup;
mod stand;
mod tls;

use stand::Stand;

/// Each function becomes one test per module.
macro_rules! on_each_module {
    ($($group:ident :: $name:ident),* $(,)?) => {
        mod softhsm { $(#[test] fn $name() { crate::stand::run(crate::stand::Kind::SoftHsm, concat!("softhsm::", stringify!($name)), crate::$group::$name); })* }
        mod kryoptic { $(#[test] fn $name() { crate::stand::run(crate::stand::Kind::Kryoptic, concat!("kryoptic::", stringify!($name)), crate::$group::$name); })* }
    };
}

on_each_module!(
    keys::ceremony_makes_what_is_missing_and_can_be_repeated,
    keys::ceremony_resumes_after_a_crash_half_way,
    keys::ceremony_refuses_to_touch_a_damaged_token,
    keys::a_weak_key_under_our_label_is_refused,
    keys::results_survive_a_reconnect_and_differ_by_input,
    keys::epochs_come_and_go,
    keys::s26_a_token_of_another_vault_is_refused_by_both_names,
    keys::capabilities_are_probed,
    keys::s24_an_anchor_is_taken_once,
    keys::threads_and_tasks_hammer_the_pool,
    attack::s26_keys_cannot_be_read_wrapped_copied_or_loosened,
    faults::a_wrong_pin_is_named,
    faults::a_refused_pin_is_not_offered_again,
    faults::a_wrong_label_or_module_or_pin_file_is_named,
    faults::another_process_comes_up_while_keys_are_made,
    faults::s27_lost_sessions_are_opened_again,
    faults::s37_the_pin_is_nowhere_to_be_seen,
    tls::a_handshake_with_raw_public_keys_both_ways,
);

/// SoftHSM only: Kryoptic keeps its file open and works on when the file is moved away.
#[test]
fn s27_a_token_that_vanishes_is_named_and_comes_back() {
    let name = "s27_a_token_that_vanishes_is_named_and_comes_back";
    stand::run(stand::Kind::SoftHsm, name, faults::s27_a_token_that_vanishes_is_named_and_comes_back);
}

#[test]
fn s27_a_token_that_comes_back_as_another_is_refused() {
    let name = "s27_a_token_that_comes_back_as_another_is_refused";
    stand::run(stand::Kind::SoftHsm, name, faults::s27_a_token_that_comes_back_as_another_is_refused);
}
