//! The clear head of a generation: 64 bytes at the beginning of its manifest object.

use bkv_stream::BackupKey;
use subtle::ConstantTimeEq;

use super::secret::{Secret, derive, generation_key};
use super::stream::Shape;
use super::{Hash, Id, VERSION, sha256, take};
use crate::error::{Error, Result};

/// How a head begins.
pub(crate) const MAGIC: &[u8; 4] = b"BKVG";
/// Length of the head.
pub const HEAD: usize = 64;
const HEAD_U16: u16 = 64;
/// A longer head is refused, also one of a later version.
pub const MAX_HEAD: usize = 256;
const BEFORE: usize = 32;
const SEEDED: u8 = 1;

/// The fields of the head. Public. Authenticated by the key's commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Random, of this attempt at a generation.
    pub generation: Id,
    /// False for a single file or a pipe, whose key comes from the backup key alone.
    pub seeded: bool,
    /// Segment and object size of the generation's stream.
    pub shape: Shape,
}

/// The keys of one generation.
#[derive(Debug)]
pub struct Keys {
    pub(crate) head: [u8; HEAD],
    /// SHA-256 of the head: the associated data of stream and manifest.
    pub(crate) aad: Hash,
    pub(crate) stream: Secret,
    pub(crate) manifest: Secret,
}

impl Head {
    fn before(&self) -> [u8; BEFORE] {
        let mut out = [0; BEFORE];
        let length = HEAD_U16.to_be_bytes();
        let parts: [&[u8]; 7] = [
            MAGIC,
            &[VERSION],
            &[if self.seeded { SEEDED } else { 0 }],
            &length,
            &self.generation,
            &self.shape.segment().to_be_bytes(),
            &self.shape.object_segments().to_be_bytes(),
        ];
        for (to, from) in out.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        out
    }

    /// The keys and the bytes of a new generation's head.
    pub fn keys(&self, key: &BackupKey, seed: Option<&Secret>) -> Result<Keys> {
        let before = self.before();
        let hash = sha256(&before);
        let generation = generation_key(key, seed, &hash)?;
        let commitment = derive(generation.as_bytes(), &[], &[b"bkv/commitment/1", &hash])?;
        let mut head = [0; HEAD];
        let (front, back) = head.split_at_mut(BEFORE);
        front.copy_from_slice(&before);
        back.copy_from_slice(commitment.as_bytes());
        let aad = sha256(&head);
        let purpose = |label: &[u8]| derive(generation.as_bytes(), &[], &[label, &aad]);
        Ok(Keys { head, aad, stream: purpose(b"bkv/stream/2")?, manifest: purpose(b"bkv/manifest/1")? })
    }

    /// Parses the head at the beginning of `bytes`. Nothing in it is authenticated before [`Head::open`].
    pub fn parse(object: &str, bytes: &[u8]) -> Result<(Self, [u8; HEAD])> {
        let foreign = |what| Error::Foreign { object: object.to_owned(), what };
        let cut = || Error::Cut { object: object.to_owned() };
        let mut rest = bytes;
        if &take::<4>(&mut rest).ok_or_else(cut)? != MAGIC {
            return Err(foreign("it does not begin as a generation"));
        }
        let [version, flags] = take(&mut rest).ok_or_else(cut)?;
        if version != VERSION {
            return Err(Error::NewerFormat { object: object.to_owned(), version });
        }
        let length = usize::from(u16::from_be_bytes(take(&mut rest).ok_or_else(cut)?));
        if length != HEAD || flags & !SEEDED != 0 {
            return Err(foreign("its head is malformed"));
        }
        let generation = take(&mut rest).ok_or_else(cut)?;
        let segment = u32::from_be_bytes(take(&mut rest).ok_or_else(cut)?);
        let object_segments = u32::from_be_bytes(take(&mut rest).ok_or_else(cut)?);
        let shape = Shape::new(segment, object_segments)
            .ok_or_else(|| foreign("its segment or object size is out of bounds"))?;
        let head = bytes.first_chunk().ok_or_else(cut)?;
        Ok((Self { generation, seeded: flags == SEEDED, shape }, *head))
    }

    /// The keys of a head that was read. The commitment proves, before anything is opened, that key and seed are the writer's.
    pub fn open(&self, head: &[u8; HEAD], key: &BackupKey, seed: Option<&Secret>) -> Result<Option<Keys>> {
        if self.seeded != seed.is_some() {
            return Ok(None);
        }
        let keys = self.keys(key, seed)?;
        Ok(bool::from(keys.head.ct_eq(head)).then_some(keys))
    }
}
