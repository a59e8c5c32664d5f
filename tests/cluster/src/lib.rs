//! What tests on a real Kubernetes share: an API server of their own or a whole cluster with our images, the operator as a process with no more rights
//! than its chart gives it, its requests from the audit log, people who use a vault, and the fields of a resource definition's schema.
//!
//! Nothing here skips: if the API server can't start, the test fails and reports why.
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
mod audit_log;
mod cert_manager;
mod cluster;
mod command_output;
pub mod definitions;
mod operator;
mod patch;
mod people;
mod port_forward;
mod retrying_proxy;
mod schema;
mod secret_search;

pub use account::Account;
pub use api_server::ApiServer;
pub use audit_log::{Request, requests};
pub use cert_manager::CertManager;
pub use cluster::{Cluster, bin_dir, project};
pub use command_output::CommandOutput;
pub use operator::{Operator, binary};
pub use patch::{merged, without_nulls};
pub use people::{Loop, Person, Recovery};
pub use port_forward::PortForward;
pub use retrying_proxy::retrying_proxy;
pub use schema::{SchemaField, schema_fields};
pub use secret_search::SoughtSecret;
