//! Reads this replica's state at its newest certified checkpoint, row by row, to send it to another vault as a snapshot.

use bkv_core::account::Account;
use bkv_core::id::AccountId;

use super::book::Source;
use super::rows::read;
use super::snapshot::{FORMAT, Head, Row, RowSecrets};
use super::state::State;
use crate::store::{Place, StoreError, Table};

/// Why no snapshot is sent.
#[derive(Debug, thiserror::Error)]
pub enum NoSnapshot {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No checkpoint is certified of which this process has a view.
    #[error("no view of a certified checkpoint")]
    NoView,
    /// The receiver would have no share of such a registration.
    #[error("the secrets of a registration can't be read now: without them the snapshot would be incomplete")]
    NoSecrets,
}

/// A snapshot that can be sent: its head, and where its rows are.
pub struct Export {
    /// The first part.
    pub head: Head,
    source: Source,
}

impl State {
    /// The newest snapshot.
    pub fn export(&self) -> Result<Export, NoSnapshot> {
        let (certificate, membership, source) = self.book.source().ok_or(NoSnapshot::NoView)?;
        let fleet = source.fleet.as_ref().clone();
        Ok(Export { head: Head { format: FORMAT, certificate, fleet, membership }, source })
    }

    /// Rows of a snapshot: accounts with their secrets. z is unmasked for the transfer. None if a registration has no secrets that can be read: the receiver could
    /// neither evaluate for it nor ever notice why.
    pub fn export_rows(
        &self,
        export: &Export,
        after: Option<AccountId>,
        max: usize,
    ) -> Result<Vec<Row>, NoSnapshot> {
        let Source { copy, view, .. } = &export.source;
        let after = after.map(|id| self.account_place(*copy, &id));
        let prefix = Place::of_copy(Table::Account, self.shard, *copy, &[]);
        let rows = view.rows_under(&prefix, after.as_ref(), max)?;
        let mut out = Vec::with_capacity(rows.len());
        for (_, row) in rows {
            let (id, account): (AccountId, Account) = read("account", &row)?;
            let live = account.live.as_ref().map(|l| l.record.reg_id);
            let stored = account.stored.as_ref().map(|s| s.record.reg_id);
            let mut secrets = Vec::new();
            for reg_id in live.into_iter().chain(stored) {
                let kept = view.get(&self.secret_place(*copy, &id, &reg_id))?;
                let (z, shares, hashes) =
                    kept.and_then(|k| self.keeper.export(&id, &reg_id, &k)).ok_or(NoSnapshot::NoSecrets)?;
                secrets.push(RowSecrets { reg_id, z, shares, hashes });
            }
            out.push(Row { id, account, secrets });
        }
        Ok(out)
    }
}
