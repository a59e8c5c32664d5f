//! Real servers that tests back up to: versitygw for S3, Debian's Apache for WebDAV. Each listens on loopback and keeps its objects in a temporary folder.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

mod disk;
mod process;
mod relay;
mod s3;
mod webdav;

pub use disk::SmallDisk;
pub use relay::{Fails, Relay};
pub use s3::S3;
pub use webdav::{Tls, WebDav};
