//! Streams as objects of a destination: cutting, uploading, reading.

mod cut;
mod parallel;
mod pull;
mod push;
mod seen;
mod upload;

pub(crate) use parallel::in_parallel;
pub(crate) use pull::{Copies, Pull, Target, whole};
pub(crate) use push::{How, Push, Stored};
pub(crate) use seen::Seen;
pub(crate) use upload::{Uploads, write as write_object};
