//! Frames on a byte stream: a big-endian u32 length, then that many bytes. Sans-I/O: bytes in, frames out.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The stream can't be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The peer announced more than is allowed here.
    #[error("a frame of {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Announced.
        len: usize,
        /// Allowed.
        max: usize,
    },
}

/// The most that one frame of any link may hold.
pub const MAX_FRAME: usize = 1 << 20;
/// Snapshot chunks and log entries between vaults may be larger.
pub const MAX_PEER_FRAME: usize = 16 << 20;

/// Takes the next whole frame out of `buffer`, None if there is none yet. Refuses an oversized length before it reserves any memory.
pub fn take(buffer: &mut BytesMut, max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_be_bytes(*head) as usize;
    if len > max {
        return Err(FrameError::TooLong { len, max });
    }
    if buffer.len() < 4 + len {
        buffer.reserve(4 + len - buffer.len());
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(len).freeze()))
}

/// Appends `message` behind its length.
pub fn put<M: prost::Message>(buffer: &mut BytesMut, message: &M) {
    let len = message.encoded_len();
    buffer.reserve(4 + len);
    buffer.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    // A BytesMut grows as needed: encoding into it can't run out of room.
    let _ = message.encode(buffer);
}
