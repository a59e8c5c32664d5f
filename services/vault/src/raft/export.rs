//! Reads this replica's state at its newest certified checkpoint, row by row, to send it to another vault as a snapshot.

use std::sync::Arc;

use bkv_core::account::Account;
use bkv_core::checkpoint::Certificate;
use bkv_core::id::AccountId;

use super::book::Source;
use super::rows::{InForce, fleet_place, read};
use super::snapshot::{FORMAT, Head, Row, RowSecrets};
use super::state::State;
use crate::store::{Place, StoreError, Table};

/// Why no snapshot is sent.
#[derive(Debug, thiserror::Error)]
pub enum NoSnapshot {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No checkpoint is certified whose rows can be read.
    #[error("no rows of a certified checkpoint")]
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
        let (certificate, membership, source) = match self.book.source() {
            Some(source) => source,
            None => self.rebuilt()?.ok_or(NoSnapshot::NoView)?,
        };
        let fleet = source.fleet.as_ref().clone();
        Ok(Export { head: Head { format: FORMAT, certificate, fleet, membership }, source })
    }

    /// The newest certified checkpoint with its rows, from a view of now and the images of what has changed since. None if nothing is certified, or the images are not
    /// complete.
    fn rebuilt(&self) -> Result<Option<(Certificate, InForce, Source)>, StoreError> {
        // No entry is applied and no checkpoint is certified meanwhile.
        let inner = self.lock();
        let Some((certificate, membership)) = self.book.certified() else { return Ok(None) };
        let index = certificate.checkpoint.index;
        let on_disk = *self.durable.borrow() >= index;
        let Some(overlay) = inner.images.at(self.shard, index).filter(|_| on_disk) else { return Ok(None) };
        let view = self.store.view()?;
        let Some(fleet) = overlay.get(&view, &fleet_place(self.shard))? else { return Ok(None) };
        let source = Source {
            fleet: Arc::new(read("fleet", &fleet)?),
            copy: self.live(),
            view: Arc::new(view),
            overlay: Arc::new(overlay),
        };
        Ok(Some((certificate, membership, source)))
    }

    /// Rows of a snapshot: accounts with their secrets. z is unmasked for the transfer. None if a registration has no secrets that can be read: the receiver could
    /// neither evaluate for it nor ever notice why.
    pub fn export_rows(
        &self,
        export: &Export,
        after: Option<AccountId>,
        max: usize,
    ) -> Result<Vec<Row>, NoSnapshot> {
        let Source { copy, view, overlay, .. } = &export.source;
        let after = after.map(|id| self.account_place(*copy, &id));
        let prefix = Place::of_copy(Table::Account, self.shard, *copy, &[]);
        let rows = overlay.rows_under(view, &prefix, after.as_ref(), max)?;
        let mut out = Vec::with_capacity(rows.len());
        for (_, row) in rows {
            let (id, account): (AccountId, Account) = read("account", &row)?;
            let live = account.live.as_ref().map(|l| l.record.reg_id);
            let stored = account.stored.as_ref().map(|s| s.record.reg_id);
            let mut secrets = Vec::new();
            for reg_id in live.into_iter().chain(stored) {
                let kept = overlay.get(view, &self.secret_place(*copy, &id, &reg_id))?;
                let (z, shares, hashes) =
                    kept.and_then(|k| self.keeper.export(&id, &reg_id, &k)).ok_or(NoSnapshot::NoSecrets)?;
                secrets.push(RowSecrets { reg_id, z, shares, hashes });
            }
            out.push(Row { id, account, secrets });
        }
        Ok(out)
    }
}
