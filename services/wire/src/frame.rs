//! The longest frames. On a byte stream the length of each frame precedes it as a big-endian u32.

/// The most bytes of a frame between ChatD and a vault, and of a message that a client accepts from ChatD.
pub const MAX_FRAME: usize = 1 << 20;
/// The most bytes of a frame between vaults. Snapshot chunks and log entries need more.
pub const MAX_PEER_FRAME: usize = 16 << 20;
