//! Tink's AES256-GCM-HKDF streaming format, one segment at a time: header, nonces, derived key.
//! <https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming>. No I/O here.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
    rand::{SecureRandom, SystemRandom},
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::{Error, Result};

/// 1 MiB of ciphertext: Tink's template `AES256_GCM_HKDF_1MB`.
pub const DEFAULT_SEGMENT: usize = 1 << 20;
pub(crate) const DEFAULT_SEGMENT_U32: u32 = 1 << 20;
/// Length of Tink's stream header: length byte, salt, nonce prefix.
pub(crate) const STREAM_HEADER: usize = 1 + SALT + PREFIX;
const STREAM_HEADER_U8: u8 = 40;
pub(crate) const TAG: usize = 16;
const SALT: usize = 32;
const PREFIX: usize = 7;
pub(crate) const MIN_SEGMENT: usize = STREAM_HEADER + TAG + 1;
/// The largest buffer that a header can make a reader allocate.
pub(crate) const MAX_SEGMENT: usize = 4 << 20;
const MAX_WORKERS: usize = 64;

/// Segment size and number of workers. The buffers take at most (2 · workers + 1) segments, or one segment with one worker, and
/// one more while the last segment is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Ciphertext bytes in each segment.
    pub segment: usize,
    /// Threads that seal or open, the caller's included. With 1 no thread is started.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { segment: DEFAULT_SEGMENT, workers: cores.min(4) }
    }
}

impl Options {
    pub(crate) fn check(self) -> Result<Self> {
        if !(MIN_SEGMENT..=MAX_SEGMENT).contains(&self.segment) {
            return Err(Error::BadOption("the segment size must be between 57 bytes and 4 MiB"));
        }
        if !(1..=MAX_WORKERS).contains(&self.workers) {
            return Err(Error::BadOption("the number of workers must be between 1 and 64"));
        }
        Ok(self)
    }
}

/// The 32-byte input key of one stream (Tink's `AesGcmHkdfStreamingKey.key_value`). One key may encrypt many streams, because
/// each has its own salt.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct StreamKey([u8; 32]);

impl StreamKey {
    /// A key from its bytes. The caller wipes its own copy.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(*bytes)
    }
}

impl std::fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamKey(..)")
    }
}

/// Why a segment did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    Corrupt,
    /// The segment is genuine but not the last one, so the segments after it are missing.
    NotTheLast,
}

/// The derived AES key of one stream and its nonce prefix.
pub(crate) struct Cipher {
    key: LessSafeKey,
    prefix: [u8; PREFIX],
}

impl Cipher {
    /// A cipher for a new stream, with random salt and prefix. Also returns the stream header to write.
    pub(crate) fn fresh(key: &StreamKey, aad: &[u8]) -> Result<(Self, [u8; STREAM_HEADER])> {
        let mut header = [0; STREAM_HEADER];
        let (length, random) = header.split_at_mut(1);
        length.fill(STREAM_HEADER_U8);
        SystemRandom::new().fill(random).map_err(|_| Error::Crypto)?;
        Ok((Self::from_header(key, aad, &header)?, header))
    }

    /// The cipher of the stream that begins with `header`.
    pub(crate) fn from_header(key: &StreamKey, aad: &[u8], header: &[u8; STREAM_HEADER]) -> Result<Self> {
        struct Len32;
        impl hkdf::KeyType for Len32 {
            fn len(&self) -> usize {
                32
            }
        }
        let [length, rest @ ..] = header;
        if usize::from(*length) != STREAM_HEADER {
            return Err(Error::Corrupt { segment: 0 });
        }
        let (salt, tail) = rest.split_at(SALT);
        let mut prefix = [0; PREFIX];
        prefix.copy_from_slice(tail);
        let mut derived = Zeroizing::new([0; 32]);
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&key.0);
        prk.expand(&[aad], Len32).and_then(|okm| okm.fill(derived.as_mut())).map_err(|_| Error::Crypto)?;
        let key = UnboundKey::new(&AES_256_GCM, derived.as_ref()).map_err(|_| Error::Crypto)?;
        Ok(Self { key: LessSafeKey::new(key), prefix })
    }

    /// The nonce contains the segment's number and the 'last' flag. So a segment does not open if an attacker reorders, drops, copies or truncates
    /// segments.
    fn nonce(&self, index: u32, last: bool) -> Nonce {
        let mut nonce = [0; 12];
        let (prefix, rest) = nonce.split_at_mut(PREFIX);
        prefix.copy_from_slice(&self.prefix);
        let (number, flag) = rest.split_at_mut(4);
        number.copy_from_slice(&index.to_be_bytes());
        flag.fill(u8::from(last));
        Nonce::assume_unique_for_key(nonce)
    }

    /// Seals `buffer[..len]` in place and puts the tag behind it. Returns the new length.
    pub(crate) fn seal(&self, buffer: &mut [u8], len: usize, index: u32, last: bool) -> Result<usize> {
        let (text, rest) = buffer.split_at_mut_checked(len).ok_or(Error::Crypto)?;
        let place = rest.get_mut(..TAG).ok_or(Error::Crypto)?;
        let nonce = self.nonce(index, last);
        let tag =
            self.key.seal_in_place_separate_tag(nonce, Aad::empty(), text).map_err(|_| Error::Crypto)?;
        place.copy_from_slice(tag.as_ref());
        Ok(len + TAG)
    }

    /// Opens `buffer[..len]` in place and returns the plaintext's length. After an error the buffer must not be used.
    pub(crate) fn open(
        &self,
        buffer: &mut [u8],
        len: usize,
        index: u32,
        last: bool,
    ) -> std::result::Result<usize, Broken> {
        let sealed = buffer.get_mut(..len).ok_or(Broken::Corrupt)?;
        // A failed opening destroys the bytes. A copy of the last segment is kept, to distinguish a truncated stream from a damaged one.
        let kept = last.then(|| sealed.to_vec());
        if let Ok(text) = self.key.open_in_place(self.nonce(index, last), Aad::empty(), sealed) {
            return Ok(text.len());
        }
        let genuine = kept.is_some_and(|copy| {
            let mut copy = Zeroizing::new(copy);
            self.key.open_in_place(self.nonce(index, false), Aad::empty(), &mut copy).is_ok()
        });
        Err(if genuine { Broken::NotTheLast } else { Broken::Corrupt })
    }
}

/// Plaintext bytes in segment `index` when it is full.
pub(crate) fn capacity(segment: usize, index: u32) -> usize {
    let full = segment.saturating_sub(TAG);
    if index == 0 { full.saturating_sub(STREAM_HEADER) } else { full }
}
