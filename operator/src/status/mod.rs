//! From what is and what was decided to the resource's status. Pure; the same input gives the same status, so that a pass in which nothing happened
//! writes nothing.

pub mod conditions;
mod findings;
pub mod reference;
mod regions;
mod unread;
mod waits;
mod write;

pub use findings::findings;
pub use regions::{quorum, regions};
pub use unread::unread;
pub use waits::{Trouble, troubles};
pub use write::{Pass, status};
