//! Key metadata: what the vaults' event feed says, in Postgres. At least once, idempotent, rebuilt by a scan. Postgres away means stale answers,
//! never a failed recovery.

mod feed;
mod store;
mod url;

pub use feed::follow;
pub use store::{Metadata, connect};
pub use url::follow_url;
