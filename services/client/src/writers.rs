//! What the SDK knows of an account's writers: a change of one, and the map with V.

use bkv_core::id::{Hash, Time, WriterId};
use bkv_core::secret::Secret32;
use bkv_core::writers::{AttestedWriter, Before, LedgerName, Writer, v_hash};
use bkv_wire::proto::inner as p;

/// A compare-and-swap of a writer's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetLedger {
    /// The device at a destination.
    pub writer: WriterId,
    /// The hash of the ledger that must be named now. None for a writer that the vault does not know.
    pub expected: Option<Hash>,
    /// The new ledger. Its counter must be larger.
    pub ledger: LedgerName,
    /// A new V, or the V before it, which is taken back. None keeps V.
    pub v: Option<Secret32>,
}

/// The writers with V, as their owner reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledgers {
    /// Sorted by id.
    pub writers: Vec<Writer>,
    /// Set if the key is gone from the vault: until then the map is kept.
    pub kept_until: Option<Time>,
}

/// The newest of the backups that are one file each.
pub(crate) fn newest_file(writers: &[AttestedWriter]) -> Option<LedgerName> {
    writers.iter().find(|w| w.id == WriterId::FILES).map(|w| w.ledger)
}

/// What t regions sign, with V from one region in the place of H(V). None if a V does not fit.
pub(crate) fn with_v(signed: &[AttestedWriter], vs: &[p::WriterV]) -> Option<Vec<Writer>> {
    let one = |w: &AttestedWriter| {
        let sent = vs.iter().find(|v| v.id[..] == w.id.0);
        let (v, before) = sent.map(p::WriterV::secrets).transpose().ok()?.unwrap_or_default();
        let fits = v.as_ref().map(v_hash) == w.v && before.as_ref().map(v_hash) == w.before.map(|(v, _)| v);
        let before = before.zip(w.before).map(|(v, (_, until))| Before { v, until });
        fits.then_some(Writer { id: w.id, ledger: w.ledger, v, before, forgotten: w.forgotten })
    };
    signed.iter().map(one).collect()
}
