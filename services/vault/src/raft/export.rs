//! Reads this replica's state row by row from a view of the disk, to send it to another vault as a snapshot.

use bkv_core::account::Account;
use bkv_core::id::AccountId;

use super::rows::{fleet_place, head_place, read};
use super::snapshot::{Head, Row, RowSecrets};
use super::state::State;
use crate::store::{StoreError, Table, View};

impl State {
    /// The head of a snapshot, read from a view of the disk. It includes the fleet.
    pub fn snapshot_head(&self, view: &View) -> Result<Option<Head>, StoreError> {
        let Some(row) = view.get(&head_place(self.shard))? else { return Ok(None) };
        let mut head: Head = read("head", &row)?;
        if let Some(row) = view.get(&fleet_place(self.shard))? {
            head.shard.fleet = Some(read("fleet", &row)?);
        }
        Ok(Some(head))
    }

    /// Rows of a snapshot from a view: accounts with their secrets. z is unmasked for the transfer.
    pub fn snapshot_rows(
        &self,
        view: &View,
        after: Option<AccountId>,
        max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let after = after.map(|id| self.account_place(&id));
        let rows = view.rows(Table::Account, self.shard, after.as_ref(), max)?;
        let mut out = Vec::with_capacity(rows.len());
        for (_, row) in rows {
            let (id, account): (AccountId, Account) = read("account", &row)?;
            let live = account.live.as_ref().map(|l| l.record.reg_id);
            let stored = account.stored.as_ref().map(|s| s.record.reg_id);
            let mut secrets = Vec::new();
            for reg_id in live.into_iter().chain(stored) {
                let kept = view.get(&self.secret_place(&id, &reg_id))?;
                if let Some((z, shares)) = kept.and_then(|k| self.keeper.export(&id, &reg_id, &k)) {
                    secrets.push(RowSecrets { reg_id, z, shares });
                }
            }
            out.push(Row { id, account, secrets });
        }
        Ok(out)
    }
}
