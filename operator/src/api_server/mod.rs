//! The API server, for all stages of a pass: what the watches saw, and ConfigMaps and Secrets by name. Of the stages, it uses
//! only the `Fleet` that `validate` makes.
//!
//! `watch`, `config_map_store` and `secret_store` do I/O. The other files are pure.

mod absence;
mod child;
mod config_map_store;
mod coverage;
mod error;
mod object;
mod ownership;
mod pod;
mod secret_store;
mod seen;
mod table;
mod watch;
mod workload;

#[cfg(test)]
mod parser_test;

pub(crate) use absence::Absence;
pub(crate) use child::Child;
pub(crate) use config_map_store::{ConfigMapStore, bytes};
pub(crate) use error::ObjectError;
pub(crate) use object::{SeenObject, Written, short_hash};
pub(crate) use pod::{PodProblem, PodSeen};
pub(crate) use secret_store::{SecretContent, SecretStore};
pub(crate) use seen::Seen;
pub(crate) use table::{Children, Key};
pub(crate) use watch::watch;
pub(crate) use workload::{ClaimSeen, WorkloadSeen};
