//! The token crate on SoftHSM, on Kryoptic and on SoftHSM behind the rules of two clouds. A module reads its configuration once per process, so each test runs in a child process of
//! its own with its own token directory.
// Clippy's exception for tests covers only functions with the attribute, not the functions that they call.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod attack;
mod clouds;
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

/// Each function becomes a test of its own on one kind of module.
macro_rules! on {
    ($kind:ident as $module:ident: $($group:ident :: $name:ident),* $(,)?) => {
        mod $module { $(#[test] fn $name() { crate::stand::run(crate::stand::Kind::$kind, concat!(stringify!($module), "::", stringify!($name)), crate::$group::$name); })* }
    };
}

on_each_module!(
    keys::ceremony_makes_what_is_missing_and_can_be_repeated,
    keys::ceremony_resumes_after_a_crash_half_way,
    keys::ceremony_refuses_to_touch_a_damaged_token,
    keys::a_weak_key_under_our_label_is_refused,
    keys::s26_a_key_that_was_brought_in_is_refused,
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

// The clouds' modules are imitated (tests/strict-pkcs11). What is not in these lists, their rules leave no way to try.
on!(Gcp as gcp:
    keys::ceremony_makes_what_is_missing_and_can_be_repeated,
    keys::results_survive_a_reconnect_and_differ_by_input,
    keys::epochs_come_and_go,
    keys::s26_a_token_of_another_vault_is_refused_by_both_names,
    keys::capabilities_are_probed,
    keys::threads_and_tasks_hammer_the_pool,
    attack::s26_keys_cannot_be_read_wrapped_copied_or_loosened,
    faults::a_wrong_label_or_module_or_pin_file_is_named,
    faults::another_process_comes_up_while_keys_are_made,
    faults::s27_lost_sessions_are_opened_again,
    faults::s37_the_pin_is_nowhere_to_be_seen,
    tls::a_handshake_with_raw_public_keys_both_ways,
    clouds::a_ceremony_that_stopped_after_the_identity_goes_on,
    clouds::a_region_name_that_is_too_long_is_refused_at_the_start,
    clouds::s24_a_module_without_data_objects_leaves_no_anchor,
    clouds::a_quota_that_is_used_up_delays_and_loses_nothing,
    clouds::fewer_sessions_than_wanted_are_enough,
);
on!(Aws as aws:
    keys::ceremony_makes_what_is_missing_and_can_be_repeated,
    keys::ceremony_resumes_after_a_crash_half_way,
    keys::ceremony_refuses_to_touch_a_damaged_token,
    keys::a_weak_key_under_our_label_is_refused,
    keys::s26_a_key_that_was_brought_in_is_refused,
    keys::results_survive_a_reconnect_and_differ_by_input,
    keys::epochs_come_and_go,
    keys::s26_a_token_of_another_vault_is_refused_by_both_names,
    keys::capabilities_are_probed,
    keys::threads_and_tasks_hammer_the_pool,
    attack::s26_keys_cannot_be_read_wrapped_copied_or_loosened,
    faults::a_wrong_pin_is_named,
    faults::a_refused_pin_is_not_offered_again,
    faults::a_wrong_label_or_module_or_pin_file_is_named,
    faults::another_process_comes_up_while_keys_are_made,
    faults::s27_lost_sessions_are_opened_again,
    faults::s37_the_pin_is_nowhere_to_be_seen,
    tls::a_handshake_with_raw_public_keys_both_ways,
    clouds::s24_a_module_without_data_objects_leaves_no_anchor,
    clouds::a_key_is_as_strict_as_the_module_allows,
    clouds::a_quota_that_is_used_up_delays_and_loses_nothing,
    clouds::fewer_sessions_than_wanted_are_enough,
);
on!(OldGcp as old_gcp: clouds::a_module_without_hmac_is_named);
on!(OldAws as old_aws: clouds::the_attribute_that_is_refused_is_named);

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
