//! How a stream lies in objects: segment and object size, lengths, padding.

use minicbor::{Decode, Encode};

use super::secret::Secret;
use super::{Hash, Id, MAX_OBJECT};

/// Overheads of Tink's format.
const STREAM_HEADER: u64 = 40;
const TAG: u64 = 16;
const MIN_SEGMENT: u32 = 57;
const MAX_SEGMENT: u32 = 4 << 20;
/// Segments of one stream: the counter in Tink's nonce has 32 bits.
const MAX_SEGMENTS: u64 = 1 << 32;

/// Segment size in bytes, and segments in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    segment: u32,
    object: u32,
}

impl Shape {
    /// None if a size is out of bounds.
    pub fn new(segment: u32, object_segments: u32) -> Option<Self> {
        let bytes = u64::from(segment) * u64::from(object_segments);
        let fits = (MIN_SEGMENT..=MAX_SEGMENT).contains(&segment) && (1..=MAX_OBJECT).contains(&bytes);
        fits.then_some(Self { segment, object: object_segments })
    }

    /// Segments of 1 MiB, objects of `mebibytes` MiB, from 4 to 32.
    pub fn of_mebibytes(mebibytes: u32) -> Option<Self> {
        (4..=32).contains(&mebibytes).then(|| Self::new(1 << 20, mebibytes)).flatten()
    }

    /// Ciphertext bytes in a segment.
    pub fn segment(self) -> u32 {
        self.segment
    }

    /// Segments in an object.
    pub fn object_segments(self) -> u32 {
        self.object
    }

    /// Bytes in a full object.
    pub fn object_bytes(self) -> u64 {
        u64::from(self.segment) * u64::from(self.object)
    }

    /// Ciphertext length of a stream with this plaintext length. None if it has too many segments.
    pub fn ciphertext(self, plain: u64) -> Option<u64> {
        let segment = u64::from(self.segment);
        let (first, other) = (segment - STREAM_HEADER - TAG, segment - TAG);
        let more = plain.saturating_sub(first);
        let segments = more.div_ceil(other).checked_add(1)?;
        (segments <= MAX_SEGMENTS).then_some(())?;
        plain.checked_add(STREAM_HEADER)?.checked_add(segments.checked_mul(TAG)?)
    }
}

impl Default for Shape {
    /// Segments of 1 MiB, objects of 32 MiB.
    fn default() -> Self {
        Self { segment: 1 << 20, object: 32 }
    }
}

/// How content became a stream's plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Encoding {
    /// As it is.
    #[n(0)]
    Plain,
    /// Independent Zstandard frames (RFC 8878).
    #[n(1)]
    Zstd,
}

/// The lengths of a stream. Everything that is needed to find and to check its objects, beside its id and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Lengths {
    /// Bytes of content.
    #[n(0)]
    pub content: u64,
    /// Bytes after compression.
    #[n(1)]
    pub stored: u64,
    /// Bytes after padding.
    #[n(2)]
    pub padded: u64,
    /// Compression.
    #[n(3)]
    pub encoding: Encoding,
    #[n(4)]
    segment: u32,
    #[n(5)]
    object: u32,
}

impl Lengths {
    pub(crate) fn new(content: u64, stored: u64, padded: u64, encoding: Encoding, shape: Shape) -> Self {
        Self { content, stored, padded, encoding, segment: shape.segment, object: shape.object }
    }

    /// The shape. None if this came from a malformed record.
    pub(crate) fn shape(&self) -> Option<Shape> {
        Shape::new(self.segment, self.object)
    }

    /// None if the lengths contradict each other, as in a malformed record.
    pub(crate) fn layout(&self) -> Option<Layout> {
        let shape = self.shape()?;
        let plain_agrees = self.encoding == Encoding::Zstd || self.content == self.stored;
        (plain_agrees && self.stored <= self.padded).then_some(())?;
        let total = shape.ciphertext(self.padded)?;
        let objects = u32::try_from(total.div_ceil(shape.object_bytes())).ok()?;
        Some(Layout { shape, total, objects })
    }
}

/// The objects of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) shape: Shape,
    /// Ciphertext bytes.
    pub(crate) total: u64,
    pub(crate) objects: u32,
}

impl Layout {
    /// Length of an object.
    pub(crate) fn length(&self, index: u32) -> u64 {
        let full = self.shape.object_bytes();
        self.total.saturating_sub(u64::from(index) * full).min(full)
    }
}

/// A blob: where it is, its key, and what it contains.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BlobRef {
    /// Random.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: Id,
    /// Random.
    #[n(1)]
    pub(crate) key: Secret,
    /// SHA-256 of the content. It also commits to the key.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub hash: Hash,
    /// Lengths.
    #[n(3)]
    pub lengths: Lengths,
}

/// The Padmé length: at most 12 % more, and about 2 % for a mebibyte. Only the first digits of the length stay visible
/// (Nikitin et al., Reducing Metadata Leakage from Encrypted Files, 2019).
pub fn padme(length: u64) -> u64 {
    if length < 2 {
        return length;
    }
    let exponent = u64::BITS - 1 - length.leading_zeros();
    let kept = u32::BITS - exponent.leading_zeros();
    let mask = (1_u64 << exponent.saturating_sub(kept)) - 1;
    length.checked_add(mask).map_or(length, |up| up & !mask)
}

/// The associated data of a blob's stream.
pub(crate) fn blob_aad(id: &Id) -> [u8; 26] {
    let mut out = *b"bkv/blob/1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    out.split_at_mut(10).1.copy_from_slice(id);
    out
}
