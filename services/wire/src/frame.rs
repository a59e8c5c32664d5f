//! The longest frames, and the close code of a WebSocket. On a byte stream the length of each frame precedes it as a big-endian u32.

/// The most bytes of a frame between ChatD and a vault, and of a message that a client accepts from ChatD.
pub const MAX_FRAME: usize = 1 << 20;
/// The most bytes of a frame between vaults. Snapshot chunks and log entries need more.
pub const MAX_PEER_FRAME: usize = 16 << 20;

/// ChatD closes a WebSocket with this code when the client's token has ended (RFC 6455, section 7.4.2: a code for applications). The client connects again with a fresh token.
pub const TOKEN_EXPIRED: u16 = 4401;
