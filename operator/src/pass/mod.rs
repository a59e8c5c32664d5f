//! A pass over one resource. `controller` validates the resource, and `pipeline` calls the other stages of a valid one in their order. Each stage is a folder.
//!
//! `controller` and `pipeline` do I/O only through the stages.

mod controller;
mod error;
mod memory;
mod pause;
mod pipeline;

pub(crate) use controller::{Operator, failed, reconcile};
pub(crate) use memory::{AT_ONCE, Memories};
