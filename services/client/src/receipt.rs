//! Receipts: a region signs that it applied a change. A client that keeps one can prove it against a vault that later denies it.

use bkv_core::id::{AccountId, Generation, Ordinal, Slot, Time};
use bkv_core::statement::{self, ReceiptKind};
use bkv_wire::proto::inner as p;

use crate::fault::{Fault, unexpected};
use crate::trusted::{Trusted, VaultClock};

/// A verified receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Who signed it.
    pub region: String,
    /// The region's slot on the admission list.
    pub slot: Slot,
    /// The kind of change.
    pub kind: ReceiptKind,
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
    /// The boot key's certificate and its signature over the statement, so that a caller can verify again.
    pub certificate: Vec<u8>,
    /// See `certificate`.
    pub signature: Vec<u8>,
}

/// Checks that an admitted region signed the receipt for this change.
pub(crate) fn verify(
    trusted: &Trusted,
    clock: VaultClock,
    account: &AccountId,
    kind: ReceiptKind,
    reference: &[u8],
    receipt: Option<p::Receipt>,
) -> Result<Receipt, Fault> {
    let r = receipt.ok_or_else(unexpected)?;
    let slot = Slot(u8::try_from(r.slot).unwrap_or(0));
    if ReceiptKind::named(&r.what) != Some(kind) || r.reference != reference {
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
        kind,
        &r.reference,
        r.index,
        at,
    );
    let slot = trusted.check(r.slot, &r.certificate, &statement, &r.signature, clock)?;
    Ok(Receipt {
        region: list.member(slot).map(|m| m.region.clone()).unwrap_or_default(),
        slot,
        kind,
        generation,
        ordinal,
        reference: r.reference.to_vec(),
        index: r.index,
        at,
        certificate: r.certificate.to_vec(),
        signature: r.signature.to_vec(),
    })
}
