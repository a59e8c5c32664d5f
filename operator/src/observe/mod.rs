//! Stage: observe. Reads a fleet's ConfigMaps by name, and its workloads, pods and claims from the watches.
//!
//! `cluster` does I/O. `observed` is pure. Nothing here decides or writes.

mod cluster;
mod observed;

pub(crate) use cluster::cluster;
pub(crate) use observed::{Observed, Signed};
