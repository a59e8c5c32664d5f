//! The edge: the only place that talks to the API server and to vaults. [`pipeline`] calls the stages of a pass in their order.

mod absent_kinds;
mod actions;
mod application;
mod ceremony;
mod chatd_metrics;
mod client;
mod controller;
mod controllers;
mod events;
mod failure;
mod health;
mod invalid_resource;
mod leadership;
mod memory;
mod pipeline;
mod report;
mod resources;
mod route;
mod runtime;
mod status_store;
mod trouble;

pub use failure::RunError;
pub use runtime::run;
