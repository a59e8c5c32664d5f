//! What client and vault share: messages, OPAQUE's suite, the threshold OPRF, the inner channel, root-signed documents.
//!
//! Knows core's types and implements its [`bkv_core::verify::Verifier`]. No I/O, no clock; randomness comes in as an argument or from the
//! operating system where a library insists.
#![forbid(unsafe_code)]

pub mod boot;
pub mod channel;
pub mod delivery;
pub mod documents;
pub mod ed25519;
pub mod frame;
pub mod opaque;
pub mod password;
pub mod proto;
pub mod toprf;
pub mod verifier;

pub use bkv_core as core;
