//! Stage: observe. Reads a fleet's ConfigMaps by name, and its workloads, pods and claims from the watches.
//!
//! `cluster` does I/O. The other files are pure. Nothing here decides or writes.

mod child;
mod cluster;
mod observed;
mod pod;
mod workload;

#[cfg(test)]
mod parser_test;

pub(crate) use child::{ChildSeen, child_seen};
pub(crate) use cluster::cluster;
pub(crate) use observed::{Observed, Signed};
pub(crate) use workload::{ClaimSeen, WorkloadSeen};
