//! The operator as a process against a real API server without nodes: what it creates, repairs, leaves alone and reports. Pods exist there but never
//! run, so a fleet gets as far as its first vault. Later steps are tested on clusters with nodes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::indexing_slicing
)]

mod ceremony;
mod cert_manager;
mod cert_manager_real;
mod certificates;
mod collisions;
mod definitions;
mod deletion;
mod drift;
mod gateway;
mod issuer;
mod journal;
mod kinds_installed_later;
mod kinds_known;
mod leaders;
mod objects;
mod refused;
mod rest;
mod secrets;
mod server_failures;
mod test_namespace;

pub(crate) use test_namespace::{TestNamespace, definition, server_with};
