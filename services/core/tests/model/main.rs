//! The rules against a second, simpler model of them (`rules`): random schedules that compare the two (`schedule_test`), and single cases.
//! Written from docs/protocol.md, not from `apply`. Beside them the formats: golden bytes, parsers, sizes.
// All of this crate is a test, its fixtures too.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod case;
mod fake;
mod golden;
mod machine;
mod op;
mod rules;

mod attempt_test;
mod encoding_test;
mod parser_test;
mod register_test;
mod schedule_test;
mod size_test;
mod snapshot_lies_test;
mod snapshot_test;
