//! The rooted leader, as attacks that run (S43): he has one admitted vault's identity key, its store and its log, and speaks the peers' protocol
//! himself to two honest vaults with real stores. What clients sign is genuine, since he can't make it; all else is his to make up.

mod entries_test;
mod fleet;
mod histories_test;
mod leader;
mod person;
mod snapshots_test;
