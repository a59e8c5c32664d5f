//! Turns what a pass observed and decided into the resource's status. Pure: the same input gives the same status, so a pass in which nothing happened writes
//! nothing.

mod finding;
mod findings;
mod pass;
mod regions;
mod summary;
mod unread;
mod waits;

pub use finding::{Finding, merge};
pub use pass::Pass;
pub use regions::{quorum, regions};
pub use summary::status;
pub use unread::unread;
pub use waits::troubles;
