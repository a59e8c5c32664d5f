//! How long a frame may be. On a byte stream each frame stands behind its length, a big-endian u32.

/// The most that one frame of any link may hold.
pub const MAX_FRAME: usize = 1 << 20;
/// Snapshot chunks and log entries between vaults may be larger.
pub const MAX_PEER_FRAME: usize = 16 << 20;
