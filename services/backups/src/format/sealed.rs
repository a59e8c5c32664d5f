//! Small objects that are sealed as one Tink stream and held in memory whole: manifests and ledgers.

use std::io::Read as _;

use bkv_stream::{Cancel, Control, Decryptor, Encryptor, Options, StreamKey};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// The segment of small objects.
const SEGMENT: usize = 64 << 10;
const OPTIONS: Options = Options { segment: SEGMENT, workers: 1 };

/// Puts the sealed content behind the head.
pub(crate) fn seal(head: &[u8], key: &StreamKey, aad: &[u8], content: &[u8]) -> Result<Vec<u8>> {
    let mut encryptor = Encryptor::new(head.to_vec(), key, aad, OPTIONS)?;
    let mut content = content;
    encryptor.read_from(&mut content, Control { progress: &(), cancel: &Cancel::default() })?;
    Ok(encryptor.finish()?.0)
}

/// Opens what lies behind the head. `most` bounds the content.
pub(crate) fn open(
    object: &str,
    sealed: &[u8],
    key: &StreamKey,
    aad: &[u8],
    most: usize,
) -> Result<Zeroizing<Vec<u8>>> {
    let judge = |error: bkv_stream::Error| match error {
        bkv_stream::Error::Truncated => Error::Cut { object: object.to_owned() },
        bkv_stream::Error::Corrupt { .. } => Error::damaged(object, "a segment does not open"),
        other => other.into(),
    };
    if sealed.len() > most + most / SEGMENT * 32 + SEGMENT {
        return Err(Error::damaged(object, "it is too long"));
    }
    let mut content = Zeroizing::new(Vec::with_capacity(sealed.len()));
    let mut decryptor = Decryptor::new(sealed, key, aad, OPTIONS).map_err(judge)?;
    decryptor.read_to_end(&mut content).map_err(|error| judge(bkv_stream::Error::from_io(error)))?;
    Ok(content)
}

/// Longest object whose content has at most `most` bytes.
pub(crate) fn longest(head: usize, most: usize) -> u64 {
    (head + most + most / SEGMENT * 32 + SEGMENT) as u64
}
