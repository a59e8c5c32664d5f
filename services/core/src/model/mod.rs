//! Tests of the rules: a second, simpler telling of them (`rules`), random schedules that compare it with the machine (`schedule`), and single cases.
//! Written from the protocol's page, not from `apply`.

mod case;
mod fake;
mod golden;
mod machine;
mod op;
mod rules;

mod attempt_test;
mod encoding_test;
mod register_test;
mod schedule_test;
mod size_test;
mod snapshot_lies_test;
mod snapshot_test;
