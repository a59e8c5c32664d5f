//! Backups as series and generations by the program `bkv`, with a 64-digit key and folders. No fleet is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod contents;
mod devices;
mod history;
mod mixed;
mod servers;
mod single;
mod upkeep;
mod world;
