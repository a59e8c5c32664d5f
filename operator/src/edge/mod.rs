//! The edge: the only place that talks to the API server and to vaults. It gathers what the pure parts need and carries out what they decide.

mod act;
mod announce;
mod health;
mod pki;
mod read;
mod reconcile;
mod run;
mod secrets;
mod store;
mod tell;
mod unreadable;
mod watched;
mod world;

pub use run::{RunError, run};
