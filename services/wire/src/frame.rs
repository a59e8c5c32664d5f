//! The longest frames. On a byte stream the length of each frame precedes it as a big-endian u32.

/// The most bytes of a frame on any link.
pub const MAX_FRAME: usize = 1 << 20;
/// Snapshot chunks and log entries between vaults may be larger.
pub const MAX_PEER_FRAME: usize = 16 << 20;
