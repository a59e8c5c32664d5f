//! The vocabulary of a resource's status: condition types, their reasons, and the checks that a pass waits for. Depends on no other module of the
//! operator, so that every stage can name a check. docs/operator-conditions.md is generated from these enums.

mod check;
mod condition;
mod reason;
mod trouble;

pub use check::{Check, Ends};
pub use condition::{Condition, Status};
pub use reason::Reason;
pub use trouble::Trouble;
