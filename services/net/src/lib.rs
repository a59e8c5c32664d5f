//! Network code that every program shares: accept connections, frame messages, own tasks, end on a signal. Nothing here interprets the messages or
//! depends on vaults, ChatD or the operator.
#![forbid(unsafe_code)]

pub mod accept;
pub mod frames;
pub mod http;
pub mod round_trip;
mod signals;
mod tasks;

pub use accept::accept;
pub use signals::until_signalled;
pub use tasks::{StillRunning, Tasks};
