//! The inner channel: TLS 1.3 from client to vault, through ChatD, which can't read it. The server proves itself with a raw public key
//! (RFC 7250) that is on the root-signed admission list; X25519MLKEM768 is preferred. There are no tickets, no resumption and no early data, so
//! every session has fresh keys and an attacker can replay no part of it. This module does no I/O.

mod endpoint;
mod frame;
mod raw_key;
mod settings;

pub use endpoint::Channel;
pub use frame::{MAX_MESSAGE, padded_len};
pub use raw_key::RawKeyVerifier;
pub use settings::{ALPN, ClientSettings, ServerSettings};

/// Why a channel ended. The caller must open a new channel to try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The settings are invalid: the key is unusable, or the list of accepted keys is empty.
    #[error("inner channel: {0}")]
    Settings(String),
    /// The server's key is not on the admission list. It is another server, or the client's list is too old.
    #[error("inner channel: the server's key is not on the fleet's admission list")]
    NotAdmitted,
    /// The handshake failed in another way.
    #[error("inner channel: the handshake failed: {0}")]
    Handshake(String),
    /// The other side ended the channel with a TLS alert.
    #[error("inner channel: the other side ended it with the alert {0}")]
    Alert(String),
    /// A record after the handshake does not decrypt or is out of place.
    #[error("inner channel: a record does not decrypt or is out of place: {0}")]
    Broken(String),
    /// A message is longer than [`MAX_MESSAGE`].
    #[error("inner channel: a message has {0} bytes, but at most {MAX_MESSAGE} are allowed")]
    Oversized(usize),
    /// The padding is not zero. An honest sender always pads with zeros.
    #[error("inner channel: the padding of a message is not zero")]
    Padding,
    /// More bytes are unread than an honest sender has in flight.
    #[error("inner channel: the other side sent more unread bytes than allowed")]
    Flooded,
    /// The handshake is not complete.
    #[error("inner channel: the handshake is not complete")]
    NotReady,
    /// The other side closed the channel, or it failed earlier.
    #[error("inner channel: the channel is closed")]
    Closed,
}

#[cfg(test)]
mod channel_test;
#[cfg(test)]
mod frame_test;
