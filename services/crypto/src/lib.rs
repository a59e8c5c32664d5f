//! The cryptography of the protocol: OPAQUE, the threshold OPRF, delivery of shares, the seal around a reply, rules for passwords.
//!
//! Uses core's ids and records, but no messages. No I/O and no clock. Randomness is an argument, or comes from the operating system where a
//! library requires that.
#![forbid(unsafe_code)]

pub mod delivery;
pub mod ed25519;
pub mod opaque;
pub mod password;
pub mod reply;
pub mod toprf;
