//! The SDK: registers a backup key under a password in the vault, recovers it, changes the password, deletes it.
//!
//! The core needs no runtime: network, time, randomness and memory come through small traits ([`Transport`], [`Clock`], [`Random`], [`Memory`]), so a
//! simulation can drive it. The shipped transport is WebSocket over TLS on tokio (feature `tokio`). It accepts an answer of the vault only if t
//! regions that the pinned root admitted sign the same. See `docs/protocol.md`.
#![forbid(unsafe_code)]

mod attested;
pub mod backup;
mod client;
mod error;
mod fault;
mod fleet;
mod harden;
mod last_try;
mod ledgers;
mod memory;
mod owner;
mod password_change;
mod receipt;
mod recover;
mod register;
mod retry;
mod runtime;
mod sealed;
mod session;
mod settled;
mod timing;
mod token;
mod token_key;
mod transport;
mod trusted;
#[cfg(feature = "tokio")]
mod websocket;
mod writers;

pub use attested::{RegionStatus, Status};
pub use client::Client;
pub use error::{Counted, Distrust, Error, TokenKeyError, Whose, WrongAnswer};
pub use fleet::Fleet;
pub use harden::harden;
pub use last_try::{FileLastTry, KeepLastTry, OpenLastTry};
pub use ledgers::LedgerFault;
pub use memory::{FileMemory, KeyName, Memory, MemoryError, Remembered, VolatileMemory};
pub use owner::Deleted;
pub use receipt::Receipt;
pub use recover::{LastTry, LastTryWarning, Note, RecoverOptions, Recovered, Uncounted};
pub use register::{RegisterOptions, Registered};
#[cfg(feature = "tokio")]
pub use runtime::TokioClock;
pub use runtime::{Clock, OsRandom, Random, Runtime};
pub use sealed::{OwnerKey, owner_key};
pub use timing::Timing;
pub use token::Tokens;
pub use token_key::{NoTokenKey, SoftwareTokenKey, TokenKey, TokenPublicKey};
pub use transport::{Duplex, Transport, TransportError};
pub use trusted::Trusted;
#[cfg(feature = "tokio")]
pub use websocket::{Trust, WebSocketTransport};
pub use writers::{Ledgers, SetLedger};

pub use bkv_core::account::State;
pub use bkv_core::document::{Admission, Policy};
pub use bkv_core::id::{AccountId, Generation, Hash, Lineage, Slot, Time, WriterId};
pub use bkv_core::record::KsfParams;
pub use bkv_core::secret::Secret32;
pub use bkv_core::statement::ReceiptKind;
pub use bkv_core::writers::{AttestedWriter, Before, GRACE_MS, LedgerName, MAX_WRITERS, Writer};
pub use bkv_stream::BackupKey;
pub use bkv_wire::documents::Root;
pub use zeroize::Zeroizing;
