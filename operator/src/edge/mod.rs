//! The edge: the only place that talks to the API server and to vaults. It gathers what the pure parts need and carries out what they decide.

mod act;
mod announce;
mod client;
mod database;
mod facts;
mod health;
mod issued;
mod left_out;
mod pass;
mod pki;
mod planned;
mod read;
mod reconcile;
mod report;
mod route;
mod run;
mod secrets;
mod store;
mod tell;
mod trouble;
mod unreadable;
mod watched;
mod world;

pub use run::{RunError, run};
