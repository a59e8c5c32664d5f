//! What every program does on a network: accept connections, frame messages, own its tasks, end on a signal. Nothing here knows what the messages
//! mean, and nothing here depends on vaults, ChatD or the operator.
#![forbid(unsafe_code)]

pub mod accept;
pub mod frames;
pub mod http;
mod signals;
mod tasks;

pub use accept::accept;
pub use signals::until_signalled;
pub use tasks::{StillRunning, Tasks};
