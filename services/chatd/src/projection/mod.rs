//! Key metadata from the vaults' event feed, in Postgres. Events arrive at least once and are idempotent. A scan rebuilds everything. Without Postgres
//! the answers are stale, but recoveries still work.

mod connect;
mod feed;
mod store;
mod url;

pub use connect::{connect, follow_url};
pub use feed::follow;
pub use store::{Known, Metadata};
