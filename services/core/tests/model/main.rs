//! Tests the rules against a second, simpler model (`rules`), which was written from docs/protocol.md and not from `apply`. Random schedules
//! compare the two (`schedule_test`), and there are single cases. Other tests check the formats: golden bytes, parsers, sizes.
// This whole crate is a test, including its fixtures.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod case;
mod fake;
mod forward;
mod golden;
mod ledger_test;
mod machine;
mod op;
mod rules;

mod attempt_test;
mod checkpoint_test;
mod digest_test;
mod encoding_test;
mod parser_test;
mod raise_test;
mod register_test;
mod schedule_test;
mod size_test;
mod snapshot_lies_test;
mod snapshot_test;
