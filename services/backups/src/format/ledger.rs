//! The ledger of a writer: its series, the kept generations with their seeds, and what is condemned.

use std::collections::HashSet;

use bkv_stream::BackupKey;
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::manifest::Content;
use super::secret::{Secret, derive, ledger_key};
use super::stream::BlobRef;
use super::{Hash, Id, MAX_LEDGER, VERSION, sealed, sha256, take};
use crate::error::{Error, Result};

const MAGIC: &[u8; 4] = b"BKVL";
/// Length of the clear head.
pub const LEDGER_HEAD: usize = 96;
const LEDGER_HEAD_U16: u16 = 96;
const FORWARD_SECRECY: u8 = 1;
const BEFORE_KEY_CHECK: usize = 32;
const BEFORE_V_CHECK: usize = 64;

/// A source's history.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Series {
    /// Random.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: Id,
    /// Its name, for people.
    #[n(1)]
    pub label: String,
    /// Paths of the sources, for people. A backup of other sources under this label is refused.
    #[n(2)]
    pub sources: String,
    /// The highest number given. It never falls, so a number is never used twice.
    #[n(3)]
    pub last: u64,
}

/// A generation that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Kept {
    /// Its series.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub series: Id,
    /// Its number.
    #[n(1)]
    pub number: u64,
    /// Its id.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub generation: Id,
    /// The seed of its key. None for a backup in one file, which no ledger lists.
    #[n(3)]
    pub(crate) seed: Option<Secret>,
    /// SHA-256 of its manifest object.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub manifest: Hash,
    /// Length of that object.
    #[n(5)]
    pub manifest_bytes: u64,
    /// When it began, in milliseconds since 1970.
    #[n(6)]
    pub begun_ms: i64,
    /// When it ended.
    #[n(7)]
    pub ended_ms: i64,
    /// What it holds.
    #[n(8)]
    pub content: Content,
    /// Nothing failed.
    #[n(9)]
    pub complete: bool,
    /// Files.
    #[n(10)]
    pub files: u64,
    /// Bytes of content.
    #[n(11)]
    pub bytes: u64,
    /// Bytes that it added to the destination.
    #[n(12)]
    pub new_bytes: u64,
    /// Tags.
    #[n(13)]
    pub tags: Vec<String>,
    /// Objects of its own stream.
    #[n(14)]
    pub objects: u32,
}

/// A generation that goes after the grace time, unless a person takes it back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Condemned {
    /// The generation.
    #[n(0)]
    pub kept: Kept,
    /// Since when, in milliseconds since 1970.
    #[n(1)]
    pub since_ms: i64,
}

/// Objects of one id, by their number: a generation's stream, its manifest, or a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Doomed {
    /// Generation or blob.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: Id,
    /// Number of objects of its stream.
    #[n(1)]
    pub objects: u32,
    /// True for a blob, false for a generation.
    #[n(2)]
    pub blob: bool,
}

/// Blobs that no kept generation uses since a prune.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Unused {
    /// Since when.
    #[n(0)]
    pub since_ms: i64,
    /// The blobs.
    #[n(1)]
    pub blobs: Vec<Doomed>,
}

/// A blob that was damaged, and the same content stored anew.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Replaced {
    /// The damaged blob, which older generations refer to.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub old: Id,
    /// The blob to read in its place. It counts only if its content has the hash that the generation names.
    #[n(1)]
    pub blob: BlobRef,
}

/// The state of a writer at a destination.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ledger {
    /// The device.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub writer: Id,
    /// Grows by one with each ledger.
    #[n(1)]
    pub counter: u64,
    /// Hash of the ledger before it.
    #[n(2)]
    pub before: Option<ByteArray<32>>,
    /// Ledgers that this device began and gave up. They are no fork.
    #[n(3)]
    pub abandoned: Vec<ByteArray<32>>,
    /// When it was written.
    #[n(4)]
    pub written_ms: i64,
    /// Series.
    #[n(5)]
    pub series: Vec<Series>,
    /// Kept generations, in the order in which they were made.
    #[n(6)]
    pub kept: Vec<Kept>,
    /// Condemned generations.
    #[n(7)]
    pub condemned: Vec<Condemned>,
    /// Condemned blobs.
    #[n(8)]
    pub unused: Vec<Unused>,
    /// What is being deleted. Its seeds are gone.
    #[n(9)]
    pub doomed: Vec<Doomed>,
    /// Blobs that a verification found damaged. The next backup does not take them for known.
    #[cbor(n(10), default, skip_if = "Vec::is_empty")]
    pub damaged: Vec<ByteArray<16>>,
    /// Blobs that were damaged and are stored anew.
    #[cbor(n(11), default, skip_if = "Vec::is_empty")]
    pub replaced: Vec<Replaced>,
    /// Since when seeds are gone and V is still the one with which an old ledger shows them, in milliseconds since 1970. None if nothing is owed.
    #[n(12)]
    pub v_owed_since_ms: Option<i64>,
}

impl Ledger {
    /// The first ledger of a writer, which has no generation yet.
    pub fn first(writer: Id) -> Self {
        Self {
            writer,
            counter: 0,
            before: None,
            abandoned: Vec::new(),
            written_ms: 0,
            series: Vec::new(),
            kept: Vec::new(),
            condemned: Vec::new(),
            unused: Vec::new(),
            doomed: Vec::new(),
            damaged: Vec::new(),
            replaced: Vec::new(),
            v_owed_since_ms: None,
        }
    }

    /// The series with this label.
    pub fn series(&self, label: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.label == label)
    }

    /// Kept generations of a series, oldest first.
    pub fn generations(&self, series: &Id) -> impl DoubleEndedIterator<Item = &Kept> {
        self.kept.iter().filter(move |kept| kept.series == *series)
    }

    /// Blobs that no new generation may refer to.
    pub(crate) fn unsound(&self) -> HashSet<Id> {
        self.damaged.iter().map(|id| **id).chain(self.replaced.iter().map(|replaced| replaced.old)).collect()
    }

    /// Adds blobs that were stored anew in the place of damaged ones.
    pub(crate) fn replace(&mut self, new: Vec<Replaced>) {
        for Replaced { old, blob } in new {
            self.damaged.retain(|id| **id != old);
            self.replaced.retain(|replaced| replaced.old != old);
            // What stood for another blob and is damaged itself now.
            for earlier in self.replaced.iter_mut().filter(|earlier| earlier.blob.id == old) {
                earlier.blob = blob.clone();
            }
            self.replaced.push(Replaced { old, blob });
        }
    }

    /// The ledger object, and its hash.
    pub(crate) fn seal(&self, key: &BackupKey, v: Option<&Secret>) -> Result<(Vec<u8>, Hash)> {
        let head = LedgerHead { writer: self.writer, counter: self.counter, forward_secrecy: v.is_some() };
        let raw = head.bytes(key, v)?;
        let mut bytes = Zeroizing::new(Vec::new());
        minicbor::encode(self, &mut *bytes).map_err(|_| Error::TooMuch("the ledger"))?;
        if bytes.len() > MAX_LEDGER {
            return Err(Error::TooMuch("the ledger"));
        }
        let (stream, aad) = stream_key(key, v, &self.writer, &raw)?;
        let sealed = sealed::seal(&raw, &stream.stream_key(), &aad, &bytes)?;
        let hash = sha256(&sealed);
        Ok((sealed, hash))
    }

    /// Opens a ledger object. Before it opens anything, it reports whether the key or V is wrong.
    pub(crate) fn open(object: &str, bytes: &[u8], key: &BackupKey, v: Option<&Secret>) -> Result<Self> {
        let (head, raw) = LedgerHead::parse(object, bytes)?;
        head.check(object, &raw, key, v)?;
        let v = v.filter(|_| head.forward_secrecy);
        let (stream, aad) = stream_key(key, v, &head.writer, &raw)?;
        let sealed = bytes.get(LEDGER_HEAD..).unwrap_or_default();
        let content = sealed::open(object, sealed, &stream.stream_key(), &aad, MAX_LEDGER)?;
        let ledger = decode(&content).ok_or_else(|| Error::damaged(object, "it does not decode"))?;
        if (ledger.writer, ledger.counter) != (head.writer, head.counter) {
            return Err(Error::damaged(object, "its head and its content differ"));
        }
        Ok(ledger)
    }
}

/// Decodes all of `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Option<Ledger> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let ledger = decoder.decode().ok()?;
    (decoder.position() == bytes.len()).then_some(ledger)
}

fn stream_key(
    key: &BackupKey,
    v: Option<&Secret>,
    writer: &Id,
    head: &[u8; LEDGER_HEAD],
) -> Result<(Secret, Hash)> {
    let w = ledger_key(key, v, writer)?;
    let aad = sha256(head);
    Ok((derive(w.as_bytes(), &[], &[b"bkv/ledger-stream/1", &aad])?, aad))
}

/// The clear head of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerHead {
    /// The device.
    pub writer: Id,
    /// Number of the ledger.
    pub counter: u64,
    /// True if V from the vault is needed.
    pub forward_secrecy: bool,
}

impl LedgerHead {
    fn bytes(&self, key: &BackupKey, v: Option<&Secret>) -> Result<[u8; LEDGER_HEAD]> {
        let mut out = Vec::with_capacity(LEDGER_HEAD);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[VERSION, if self.forward_secrecy { FORWARD_SECRECY } else { 0 }]);
        out.extend_from_slice(&LEDGER_HEAD_U16.to_be_bytes());
        out.extend_from_slice(&self.writer);
        out.extend_from_slice(&self.counter.to_be_bytes());
        let key_check = derive(key.as_bytes(), &[], &[b"bkv/key-check/2", &sha256(&out)])?;
        out.extend_from_slice(key_check.as_bytes());
        let w = ledger_key(key, v, &self.writer)?;
        let v_check = derive(w.as_bytes(), &[], &[b"bkv/v-check/1", &sha256(&out)])?;
        out.extend_from_slice(v_check.as_bytes());
        out.try_into().map_err(|_| Error::Crypto)
    }

    /// Parses the head at the beginning of `bytes`. Nothing in it is authenticated before the ledger opens.
    pub fn parse(object: &str, bytes: &[u8]) -> Result<(Self, [u8; LEDGER_HEAD])> {
        let foreign = |what| Error::Foreign { object: object.to_owned(), what };
        let cut = || Error::Cut { object: object.to_owned() };
        let mut rest = bytes;
        if &take::<4>(&mut rest).ok_or_else(cut)? != MAGIC {
            return Err(foreign("it does not begin as a ledger"));
        }
        let [version, flags] = take(&mut rest).ok_or_else(cut)?;
        if version != VERSION {
            return Err(Error::NewerFormat { object: object.to_owned(), version });
        }
        let length = usize::from(u16::from_be_bytes(take(&mut rest).ok_or_else(cut)?));
        if length != LEDGER_HEAD || flags & !FORWARD_SECRECY != 0 {
            return Err(foreign("its head is malformed"));
        }
        let writer = take(&mut rest).ok_or_else(cut)?;
        let counter = u64::from_be_bytes(take(&mut rest).ok_or_else(cut)?);
        let raw = bytes.first_chunk().ok_or_else(cut)?;
        Ok((Self { writer, counter, forward_secrecy: flags == FORWARD_SECRECY }, *raw))
    }

    fn check(
        &self,
        object: &str,
        raw: &[u8; LEDGER_HEAD],
        key: &BackupKey,
        v: Option<&Secret>,
    ) -> Result<()> {
        let needed = v.filter(|_| self.forward_secrecy);
        let right = self.bytes(key, needed)?;
        let same = |range: std::ops::Range<usize>| {
            let (a, b) = (right.get(range.clone()).unwrap_or_default(), raw.get(range).unwrap_or_default());
            bool::from(a.ct_eq(b))
        };
        if !same(BEFORE_KEY_CHECK..BEFORE_V_CHECK) {
            return Err(Error::WrongKey { object: object.to_owned() });
        }
        if !same(BEFORE_V_CHECK..LEDGER_HEAD) || (self.forward_secrecy && v.is_none()) {
            return Err(Error::WrongV { object: object.to_owned() });
        }
        Ok(())
    }
}
