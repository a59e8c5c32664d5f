//! A pass over one resource. `reconcile` validates the resource, and `pipeline` calls the other stages of a valid one in their order. Each stage is a folder.
//!
//! `reconcile` and `pipeline` do I/O only through the stages, and read the clock for them.

mod error;
mod memory;
mod pause;
mod pipeline;
mod reconcile;

pub(crate) use memory::{AT_ONCE, Memories};
pub(crate) use reconcile::{Operator, failed, reconcile};
