//! Network code that every program shares: connect and accept, frame messages, own tasks, end on a signal. Nothing here interprets the messages or
//! depends on vaults, ChatD or the operator.
#![forbid(unsafe_code)]

pub mod accept;
mod bind;
mod dial;
pub mod frames;
pub mod http;
pub mod round_trip;
mod signals;
mod tasks;

pub use accept::accept;
pub use bind::bind;
pub use dial::dial;
pub use signals::until_signalled;
pub use tasks::{StillRunning, Tasks};
