//! What tests on a real Kubernetes share: an API server of their own, a whole cluster with our images, people who use a vault in it, and a walk over a
//! resource definition's schema.
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

mod answer;
mod api_server;
mod cluster;
mod patch;
mod people;
mod schema;
mod way;

pub use answer::Answer;
pub use api_server::ApiServer;
pub use cluster::{Cluster, bin_dir, project};
pub use patch::{merged, without_nulls};
pub use people::{Loop, Person, Recovery};
pub use schema::{Place, places};
pub use way::Way;
