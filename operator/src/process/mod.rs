//! The process: it starts, serves its health port, waits for the lease, and runs one controller for each namespace. The controllers begin the passes.

mod client;
mod failure;
mod health;
mod leadership;
mod lease;
mod namespaces;
mod resources;
mod runtime;

pub use failure::RunError;
pub use runtime::run;
