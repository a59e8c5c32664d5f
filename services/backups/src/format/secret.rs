//! Keys derived from the backup key. Each label is used for one purpose only.

use aws_lc_rs::{hkdf, hmac};
use bkv_stream::{BackupKey, StreamKey};
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{Hash, Id};
use crate::error::{Error, Result};

/// 32 secret bytes: a seed, V, or a derived key. Wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// The caller wipes its own copy.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// 32 random bytes of the operating system.
    pub fn random() -> Result<Self> {
        let mut out = Self([0; 32]);
        aws_lc_rs::rand::fill(&mut out.0).map_err(|_| Error::Crypto)?;
        Ok(out)
    }

    /// The bytes. The caller wipes each copy.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn stream_key(&self) -> StreamKey {
        StreamKey::from_bytes(&self.0)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(&self.0[..], &other.0[..]).into()
    }
}
impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<C> Encode<C> for Secret {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> std::result::Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Secret {
    fn decode(
        d: &mut minicbor::Decoder<'b>,
        ctx: &mut C,
    ) -> std::result::Result<Self, minicbor::decode::Error> {
        let mut bytes = ByteArray::<32>::decode(d, ctx)?;
        let out = Self(*bytes);
        bytes.zeroize();
        Ok(out)
    }
}

struct Len(usize);
impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-SHA256. Each caller's parts have fixed lengths or a length in front.
pub(crate) fn derive(key: &[u8], salt: &[u8], info: &[&[u8]]) -> Result<Secret> {
    let mut out = Secret([0; 32]);
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key);
    prk.expand(info, Len(32)).and_then(|okm| okm.fill(&mut out.0)).map_err(|_| Error::Crypto)?;
    Ok(out)
}

/// The key G of a generation.
pub(crate) fn generation_key(key: &BackupKey, seed: Option<&Secret>, head: &Hash) -> Result<Secret> {
    let salt = seed.map_or(&[][..], |seed| &seed.0[..]);
    derive(key.as_bytes(), salt, &[b"bkv/generation/1", head])
}

/// The key W of a writer's ledgers under one V.
pub(crate) fn ledger_key(key: &BackupKey, v: Option<&Secret>, writer: &Id) -> Result<Secret> {
    let v = v.map_or(&[][..], |v| &v.0[..]);
    let length = [u8::try_from(v.len()).map_err(|_| Error::Crypto)?];
    derive(key.as_bytes(), &[], &[b"bkv/ledger/1", &length, v, writer])
}

/// A key that computes names or cuts: HMAC-SHA256.
pub(crate) struct MacKey(hmac::Key);

impl MacKey {
    pub(crate) fn derive(key: &BackupKey, label: &[u8], writer: &Id) -> Result<Self> {
        let secret = derive(key.as_bytes(), &[], &[label, writer])?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &secret.0)))
    }

    pub(crate) fn mac(&self, parts: &[&[u8]]) -> Zeroizing<Hash> {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        let mut out = Zeroizing::new([0; 32]);
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(..)")
    }
}

/// 16 random bytes of the operating system.
pub(crate) fn random_id() -> Result<Id> {
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| Error::Crypto)?;
    Ok(id)
}
