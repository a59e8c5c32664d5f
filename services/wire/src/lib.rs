//! The data that client, ChatD and vaults exchange: messages, root-signed documents, boot certificates, the inner channel.
//!
//! Implements core's [`bkv_core::verify::Verifier`] with the checks of `bkv-crypto`. No I/O and no clock. Randomness is an argument, or comes from
//! the operating system where a library requires that.
#![forbid(unsafe_code)]

pub mod boot;
pub mod bounds;
pub mod channel;
pub mod convert;
pub mod documents;
pub mod election;
pub mod equivocation;
pub mod frame;
pub mod ledgers;
pub mod possession;
pub mod proto;
pub mod verifier;

#[cfg(test)]
mod test_keys;

pub use bkv_core as core;
