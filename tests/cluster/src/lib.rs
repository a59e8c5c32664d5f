//! What tests on a real Kubernetes share: an API server of their own, the operator as a process with no more rights than its chart gives it, what it asked
//! the server for, and a walk over a resource definition's schema.
//!
//! Nothing here skips: where the API server can't be brought up, the test fails and says why.
#![forbid(unsafe_code)]
// This crate is test support: a failed expectation is how it reports.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::indexing_slicing
)]

mod account;
mod api_server;
mod asked;
mod operator;
mod patch;
mod schema;

pub use account::Account;
pub use api_server::{Answer, ApiServer};
pub use asked::{Request, requests};
pub use operator::{Operator, binary};
pub use patch::{merged, without_nulls};
pub use schema::{Place, places};
