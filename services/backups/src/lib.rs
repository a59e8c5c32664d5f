//! Backups at a destination: the format, and backing up, restoring, verifying and pruning as library functions.
//! Decision record 19 has the byte layouts. Nothing here asks a person, reads a command line or talks to a vault: callers pass a [`Destination`],
//! a [`Vault`] and a [`Clock`].
#![forbid(unsafe_code)]

pub mod backup;
mod clock;
mod contents;
pub mod copy;
pub mod destination;
mod error;
pub mod format;
mod generation;
mod ledgers;
mod library;
mod objects;
pub mod prune;
pub mod restore;
pub mod single;
mod source;
mod state;
pub mod take_back;
mod vault;
pub mod verify;
mod writer;

pub use clock::{Clock, SystemClock};
pub use contents::{Reading, Verified, Visited};
pub use destination::Destination;
pub use error::{Error, Result};
pub use format::secret::Secret;
pub use library::{Access, Choice, Expected, History, Library, Standing, Which, history, open};
pub use source::{Identity, Selection};
pub use state::{STATE_FORMAT, State, StateFile};
pub use vault::{Named, Naming, NoVault, SetLedger, Vault, VaultFault};
pub use writer::{Outside, Writer};

#[cfg(test)]
mod fixture_test;
