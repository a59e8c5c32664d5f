//! The writers' map in messages.

use bkv_core::command::{ForgetWriter, SetLedger};
use bkv_core::id::{AccountId, Hash, Time, WriterId, WrongLength};
use bkv_core::secret::Secret32;
use bkv_core::signature::OwnerSignature;
use bkv_core::writers::{AttestedRetired, AttestedWriter, LedgerName, Writer};
use bytes::Bytes;
use zeroize::Zeroize as _;

use crate::proto::inner as p;

/// The label of the channel's keying material (RFC 8446, section 7.5) that the owner signs to read V.
pub const EXPORTER: &[u8] = b"EXPORTER-bkv-ledgers";

fn hash(bytes: &[u8]) -> Result<Option<Hash>, WrongLength> {
    if bytes.is_empty() { Ok(None) } else { Hash::try_from(bytes).map(Some) }
}

fn bytes(hash: Option<&Hash>) -> Bytes {
    hash.map(|h| h.0.to_vec()).unwrap_or_default().into()
}

/// A V in a message: 32 bytes, or none for no V.
fn v(bytes: &[u8]) -> Result<Option<Secret32>, WrongLength> {
    let Some(mut hash) = hash(bytes)? else { return Ok(None) };
    let v = Secret32::new(hash.0);
    hash.0.zeroize();
    Ok(Some(v))
}

impl From<&AttestedWriter> for p::Writer {
    fn from(w: &AttestedWriter) -> Self {
        Self {
            id: w.id.0.to_vec().into(),
            counter: w.ledger.counter,
            hash: bytes(Some(&w.ledger.hash)),
            v: bytes(w.v.as_ref()),
            before: bytes(w.before.as_ref().map(|(v, _)| v)),
            before_until_ms: w.before.map_or(0, |(_, until)| until.0),
            forgotten_until_ms: w.forgotten.map_or(0, |t| t.0),
        }
    }
}

impl TryFrom<&p::Writer> for AttestedWriter {
    type Error = WrongLength;
    fn try_from(w: &p::Writer) -> Result<Self, WrongLength> {
        Ok(Self {
            id: WriterId::try_from(&w.id[..])?,
            ledger: LedgerName { counter: w.counter, hash: Hash::try_from(&w.hash[..])? },
            v: hash(&w.v)?,
            before: hash(&w.before)?.map(|v| (v, Time(w.before_until_ms))),
            forgotten: Some(Time(w.forgotten_until_ms)).filter(|t| t.0 > 0),
        })
    }
}

impl From<&AttestedRetired> for p::Retired {
    fn from(r: &AttestedRetired) -> Self {
        Self { owner: bytes(Some(&r.owner)), writers: bytes(Some(&r.writers)), until_ms: r.until.0 }
    }
}

impl TryFrom<&p::Retired> for AttestedRetired {
    type Error = WrongLength;
    fn try_from(r: &p::Retired) -> Result<Self, WrongLength> {
        let (owner, writers) = (Hash::try_from(&r.owner[..])?, Hash::try_from(&r.writers[..])?);
        Ok(Self { owner, writers, until: Time(r.until_ms) })
    }
}

impl From<&Writer> for p::WriterV {
    fn from(w: &Writer) -> Self {
        let v = |v: Option<&Secret32>| v.map(|v| v.expose().to_vec()).unwrap_or_default().into();
        Self { id: w.id.0.to_vec().into(), v: v(w.v.as_ref()), before: v(w.before.as_ref().map(|b| &b.v)) }
    }
}

impl p::WriterV {
    /// V, and the V before it.
    pub fn secrets(&self) -> Result<(Option<Secret32>, Option<Secret32>), WrongLength> {
        Ok((v(&self.v)?, v(&self.before)?))
    }
}

impl p::SetLedger {
    /// The command of this message.
    pub fn command(&self, account: AccountId, owner: OwnerSignature) -> Result<SetLedger, WrongLength> {
        Ok(SetLedger {
            account,
            writer: WriterId::try_from(&self.writer[..])?,
            expected: hash(&self.expected)?,
            ledger: LedgerName { counter: self.counter, hash: Hash::try_from(&self.hash[..])? },
            v: v(&self.v)?,
            owner,
        })
    }
}

impl p::ForgetWriter {
    /// The command of this message.
    pub fn command(&self, account: AccountId, owner: OwnerSignature) -> Result<ForgetWriter, WrongLength> {
        let (writer, expected) = (WriterId::try_from(&self.writer[..])?, Hash::try_from(&self.expected[..])?);
        Ok(ForgetWriter { account, writer, expected, owner })
    }
}
