//! Destinations on real servers: versitygw for S3, Apache for WebDAV.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

mod backups;
#[path = "../../../backups/tests/common/mod.rs"]
mod common;
mod contract;
mod faults;
mod places;
