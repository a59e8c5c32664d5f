//! The backup key: 32 random bytes, or 64 hexadecimal digits on paper. All other keys of a backup are derived from it.
//! No error and no `Debug` output here contains a digit of it.

use aws_lc_rs::{
    hkdf,
    rand::{SecureRandom, SystemRandom},
};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{error::Error, segment::StreamKey};

/// Digits in a written key.
pub const DIGITS: usize = 64;
/// Digits in each written group.
pub const GROUP: usize = 4;

/// Why a written key can't be read. Each group has four digits. The first is group 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A character that is neither a hexadecimal digit nor a separator.
    #[error(
        "group {group} of the key holds a sign that is no digit 0-9 or letter a-f; look at that group again"
    )]
    NotADigit {
        /// Group of four, from 1.
        group: usize,
    },
    /// Too few digits.
    #[error("{missing} of the 64 digits are missing; look whether a group was left out")]
    Missing {
        /// How many.
        missing: usize,
    },
    /// Too many digits.
    #[error("the key has more than 64 digits; look whether a group was typed twice")]
    TooMany,
}

/// The 256-bit key of an account's backups.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct BackupKey([u8; 32]);

impl BackupKey {
    /// A fresh key from the operating system's generator.
    pub fn generate() -> Result<Self, Error> {
        let mut key = Self([0; 32]);
        SystemRandom::new().fill(&mut key.0).map_err(|_| Error::Crypto)?;
        Ok(key)
    }

    /// A key from the bytes that the vault returned. The caller wipes its own copy.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(*bytes)
    }

    /// The bytes, for the envelope that goes to the vault and for other derivations.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key for a person to write down: 16 groups of four lower-case digits, four groups on a line.
    pub fn to_digits(&self) -> Zeroizing<String> {
        // The capacity fits 64 digits and 15 separators, so no reallocation leaves a copy in memory.
        let mut text = Zeroizing::new(String::with_capacity(DIGITS + DIGITS / GROUP));
        for (i, byte) in self.0.iter().enumerate() {
            if i > 0 && i % 2 == 0 {
                text.push(if i % 8 == 0 { '\n' } else { ' ' });
            }
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        text
    }

    /// Reads a key that a person typed. Spaces, dashes, line breaks and case do not matter.
    pub fn from_digits(text: &str) -> Result<Self, KeyError> {
        let mut key = Self([0; 32]);
        let mut count = 0_usize;
        for sign in text.chars() {
            // Word processors turn '-' into other dashes.
            if sign.is_whitespace() || matches!(sign, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}') {
                continue;
            }
            let Some(digit) = sign.to_digit(16).and_then(|d| u8::try_from(d).ok()) else {
                return Err(KeyError::NotADigit { group: count / GROUP + 1 });
            };
            let Some(byte) = key.0.get_mut(count / 2) else { return Err(KeyError::TooMany) };
            *byte = *byte << 4 | digit;
            count += 1;
        }
        if count < DIGITS { Err(KeyError::Missing { missing: DIGITS - count }) } else { Ok(key) }
    }

    /// Key-check value of a backup. A reader detects a wrong key by it before it decrypts anything (S30, S32). It is one-way. It
    /// depends on the backup's id, so an attacker who has two backups can't see that they share a key.
    pub fn key_check(&self, backup: &[u8; 16]) -> Result<[u8; 16], Error> {
        let mut out = [0; 16];
        self.derive(&[b"bkv/key-check/1", backup], &mut out)?;
        Ok(out)
    }

    /// The streaming key of one file. H is SHA-256 over its header's manifest bytes.
    pub fn stream_key(&self, header_hash: &[u8; 32]) -> Result<StreamKey, Error> {
        let mut out = Zeroizing::new([0; 32]);
        self.derive(&[b"bkv/stream/1", header_hash], out.as_mut())?;
        Ok(StreamKey::from_bytes(&out))
    }

    /// A key for another program. `info` is "bkv/derive/1" and the purpose, each after its length in 8 bytes, so no purpose gives a key that is used here.
    pub fn for_purpose(&self, purpose: &str) -> Result<Zeroizing<[u8; 32]>, Error> {
        const LABEL: &[u8] = b"bkv/derive/1";
        let length = |part: &[u8]| (part.len() as u64).to_be_bytes();
        let mut out = Zeroizing::new([0; 32]);
        let info = [&length(LABEL)[..], LABEL, &length(purpose.as_bytes()), purpose.as_bytes()];
        self.derive(&info, out.as_mut())?;
        Ok(out)
    }

    /// HKDF-SHA256 (RFC 5869) without salt. `info` is the concatenation of the parts, whose lengths each caller fixes or puts before them.
    fn derive(&self, info: &[&[u8]], out: &mut [u8]) -> Result<(), Error> {
        struct Len(usize);
        impl hkdf::KeyType for Len {
            fn len(&self) -> usize {
                self.0
            }
        }
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&self.0);
        prk.expand(info, Len(out.len())).and_then(|okm| okm.fill(out)).map_err(|_| Error::Crypto)
    }
}

impl PartialEq for BackupKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}
impl Eq for BackupKey {}

impl std::fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BackupKey(..)")
    }
}

#[cfg(test)]
#[path = "key_test.rs"]
mod key_test;
