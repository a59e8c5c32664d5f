//! Turns what a pass observed and decided into the resource's status. Pure: the same input gives the same status, so a pass in which nothing happened writes
//! nothing.

mod finding;
mod findings;
mod pass;
mod regions;
mod summary;
mod unread;
mod waits;

pub(crate) use finding::{Finding, merge};
pub(crate) use pass::Pass;
pub(crate) use regions::{quorum, regions};
pub(crate) use summary::status;
pub(crate) use unread::unread;
pub(crate) use waits::troubles;
