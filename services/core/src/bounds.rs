//! The most bytes that a command may have, field by field.
//!
//! A leader checks a command before it proposes it. Every replica checks the entries of its leader before they reach its log. So neither a client nor a rooted
//! leader can fill the disks with a few large entries, or make one that is too large to be sent to a follower that was away.

use crate::record::Record;

/// The most accounts of a shard whose first registration is not confirmed. A first registration needs no signature, so a rooted leader could invent any number of them.
pub const UNCONFIRMED: u32 = 4096;
/// The most regions of a fleet.
pub const REGIONS: usize = 15;
/// The most bytes of a signed document. A policy may contain the issuer's keys.
pub const DOCUMENT: usize = 64 << 10;
/// The most bytes of a record, encoded.
pub const RECORD: usize = Record::MAX_LEN;
/// HPKE's encapsulated key and the encrypted share of one sealed share. Our suite needs 32 and 48.
pub const SHARE_KEY: usize = 64;
/// See [`SHARE_KEY`].
pub const SHARE_TEXT: usize = 96;
/// The most bytes of a boot key's certificate.
pub const CERTIFICATE: usize = 512;
/// OPAQUE's registration request (RFC 9807), in our suite.
pub const REGISTRATION_REQUEST: usize = 32;
/// OPAQUE's registration response.
pub const REGISTRATION_RESPONSE: usize = 64;
/// OPAQUE's first message of a login.
pub const KE1: usize = 96;
/// OPAQUE's second message of a login.
pub const KE2: usize = 384;
/// OPAQUE's third message of a login.
pub const KE3: usize = 128;

/// A field exceeds its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Oversized {
    /// Too many bytes.
    #[error("{field} has {len} bytes, at most {most} are allowed")]
    Bytes {
        /// Message and field.
        field: &'static str,
        /// Its bytes.
        len: usize,
        /// The most that are allowed.
        most: usize,
    },
    /// Too many elements.
    #[error("{field} has {len} elements, at most {most} are allowed")]
    Elements {
        /// Message and field.
        field: &'static str,
        /// Its elements.
        len: usize,
        /// The most that are allowed.
        most: usize,
    },
}

/// Refuses more than `most` bytes.
pub const fn bytes(field: &'static str, len: usize, most: usize) -> Result<(), Oversized> {
    if len > most { Err(Oversized::Bytes { field, len, most }) } else { Ok(()) }
}

/// Refuses more than `most` elements.
pub(crate) const fn elements(field: &'static str, len: usize, most: usize) -> Result<(), Oversized> {
    if len > most { Err(Oversized::Elements { field, len, most }) } else { Ok(()) }
}
