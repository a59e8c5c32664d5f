//! The vault's administration port as types: one for each request, answer and problem, and a client. The vault, the operator, `bkv dev` and the tests share them.
//!
//! Compatibility: a reader ignores unknown fields and reads unknown values of an enum as `Unknown`, because the operator is upgraded before the vaults.
#![forbid(unsafe_code)]

mod base64_text;
#[cfg(feature = "client")]
mod client;
mod documents;
pub mod draft;
mod problem;
mod root;
pub mod shown;
mod status;
mod token;

pub mod paths;

#[cfg(test)]
mod golden_test;
#[cfg(test)]
mod parser_test;

#[cfg(feature = "client")]
pub use client::{VaultClient, VaultError};
pub use documents::{FleetMade, Installed, Lifted, Signed, SteppingDown, kind_of};
pub use problem::Problem;
pub use root::{HandOver, PublicRoot, RootHeld, SealedRoot, SealedRoots};
pub use status::{Phase, RollbackProtection, ShardStatus, TokenHealth, VaultStatus, Volume};
pub use token::{Cannot, Capability, Destruction, Fingerprints, TokenCapabilities, VaultToken};
