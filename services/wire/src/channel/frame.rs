//! Messages inside the channel: len32 ‖ body ‖ zeros up to a bucket, so that ChatD learns little from a length.

use super::ChannelError;

/// The most bytes that one message may have.
pub const MAX_MESSAGE: usize = 256 * 1024;
const HEADER: usize = 4;
const BUCKETS: [usize; 5] = [256, 512, 1024, 2048, 4096];

/// The most bytes that may be unread. An honest sender never has so many in flight.
pub(super) const MAX_WAITING: usize = 4 * MAX_MESSAGE;

/// Bytes on the wire, before TLS, of a message with `body` bytes: the smallest bucket of 256, 512, 1024, 2048, 4096 and the multiples of
/// 4096 that holds it and its length.
pub const fn padded_len(body: usize) -> usize {
    let total = body.saturating_add(HEADER);
    let mut i = 0;
    while i < BUCKETS.len() {
        #[allow(clippy::indexing_slicing)] // bounded by the loop; iterators are not const
        if total <= BUCKETS[i] {
            return BUCKETS[i];
        }
        i += 1;
    }
    total.div_ceil(4096).saturating_mul(4096)
}

pub(super) fn encode(body: &[u8]) -> Result<Vec<u8>, ChannelError> {
    let len = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_MESSAGE);
    let len = len.ok_or(ChannelError::Oversized(body.len()))?;
    let mut frame = Vec::with_capacity(padded_len(body.len()));
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(body);
    frame.resize(padded_len(body.len()), 0);
    Ok(frame)
}

/// Takes the first whole message off `waiting`. None if more bytes are needed.
pub(super) fn decode(waiting: &mut Vec<u8>) -> Result<Option<Vec<u8>>, ChannelError> {
    let Some(header) = waiting.first_chunk::<HEADER>() else { return Ok(None) };
    let len = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
    if len > MAX_MESSAGE {
        return Err(ChannelError::Oversized(len)); // before memory is allocated for it
    }
    let total = padded_len(len);
    let Some((frame, _)) = waiting.split_at_checked(total) else { return Ok(None) };
    let (_, rest) = frame.split_at(HEADER);
    let (body, padding) = rest.split_at(len);
    if padding.iter().any(|b| *b != 0) {
        return Err(ChannelError::Padding);
    }
    let body = body.to_vec();
    waiting.drain(..total);
    Ok(Some(body))
}
