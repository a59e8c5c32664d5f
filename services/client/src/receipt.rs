//! Receipts: a region's signed word that a change was applied. Kept, they convict a vault that later denies it.

use bkv_core::id::{AccountId, Generation, Ordinal, Slot, Time};
use bkv_core::statement;
use bkv_wire::proto::inner as p;

use crate::fleet::{Trusted, VaultClock};
use crate::retry::Fault;
use crate::session::unexpected;

/// What was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A registration is live.
    Registered,
    /// The password was proved.
    Recovered,
    /// An attempt was closed.
    GivenUp,
    /// The key is gone.
    Deleted,
    /// The newest backup was named.
    Manifest,
}

impl What {
    /// The word in the statement.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Recovered => "recovered",
            Self::GivenUp => "given-up",
            Self::Deleted => "deleted",
            Self::Manifest => "manifest",
        }
    }
}

/// A verified receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Who signed it.
    pub region: String,
    /// Its place on the admission list.
    pub slot: Slot,
    /// For what.
    pub what: What,
    /// After the change.
    pub generation: Generation,
    /// After the change.
    pub ordinal: Ordinal,
    /// Attempt, registration or operation id.
    pub reference: Vec<u8>,
    /// Log index.
    pub index: u64,
    /// Entry time.
    pub at: Time,
    /// The boot key's certificate and its signature over the statement, for whoever wants to check again.
    pub certificate: Vec<u8>,
    /// See `certificate`.
    pub signature: Vec<u8>,
}

/// Checks that a receipt is for this, by an admitted region.
pub(crate) fn verify(
    trusted: &Trusted,
    clock: VaultClock,
    account: &AccountId,
    what: What,
    reference: &[u8],
    receipt: Option<p::Receipt>,
) -> Result<Receipt, Fault> {
    let r = receipt.ok_or_else(unexpected)?;
    let slot = Slot(u8::try_from(r.slot).unwrap_or(0));
    if r.what != what.word() || r.reference != reference {
        return Err(trusted.wrong(slot, "gave a receipt for something else").into());
    }
    let list = trusted.admission();
    let (generation, ordinal, at) = (Generation(r.generation), Ordinal(r.ordinal), Time(r.at_ms));
    let statement = statement::receipt(
        &list.lineage,
        list.era,
        slot,
        account,
        generation,
        ordinal,
        &r.what,
        &r.reference,
        r.index,
        at,
    );
    let slot = trusted.check(r.slot, &r.certificate, &statement, &r.signature, clock)?;
    Ok(Receipt {
        region: list.member(slot).map(|m| m.region.clone()).unwrap_or_default(),
        slot,
        what,
        generation,
        ordinal,
        reference: r.reference.to_vec(),
        index: r.index,
        at,
        certificate: r.certificate.to_vec(),
        signature: r.signature.to_vec(),
    })
}
