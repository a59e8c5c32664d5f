//! Key metadata from the vaults' event feed, in Postgres. Events arrive at least once, are idempotent, and a scan rebuilds everything. Without
//! Postgres answers are stale; no recovery fails.

mod connect;
mod feed;
mod store;
mod url;

pub use connect::{connect, follow_url};
pub use feed::follow;
pub use store::{Known, Metadata};
