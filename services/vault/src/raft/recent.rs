//! A bounded cache of recently used accounts in decoded form. A recovery reads its account about ten times in each replica, and opening and decoding
//! the row costs more than most of the work on it. The cache is never older than the store.

use std::collections::HashMap;
use std::sync::Arc;

use bkv_core::account::Account;
use bkv_core::digest::RowHash;
use bkv_core::id::AccountId;
use parking_lot::{Mutex, MutexGuard};

/// Most accounts in each of the two halves.
const HALF: usize = 512;

#[derive(Default)]
pub(crate) struct Recent(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Accounts used since `young` last became `old`.
    young: HashMap<AccountId, Known>,
    old: HashMap<AccountId, Known>,
    /// Rises with every change. A reader that read the store before a change must not cache the older account after it.
    changes: u64,
}

#[derive(Clone)]
struct Known {
    account: Arc<Account>,
    /// The hash of exactly this account's row, if the account was applied and not read.
    row: Option<RowHash>,
}

/// The value of `changes` when a reader began to read the store.
#[derive(Clone, Copy)]
pub(crate) struct Reading(u64);

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    /// The cached account, or the mark with which the caller reads the store.
    pub(crate) fn get(&self, id: &AccountId) -> Result<Arc<Account>, Reading> {
        let mut inner = self.lock();
        if let Some(known) = inner.young.get(id) {
            return Ok(known.account.clone());
        }
        match inner.old.remove(id) {
            Some(known) => {
                let account = known.account.clone();
                inner.keep(*id, known);
                Ok(account)
            }
            None => Err(Reading(inner.changes)),
        }
    }

    /// The hash of the account's row, if it is at hand.
    pub(crate) fn row_hash(&self, id: &AccountId) -> Option<RowHash> {
        let inner = self.lock();
        inner.young.get(id).or_else(|| inner.old.get(id)).and_then(|known| known.row.clone())
    }

    /// Caches what the store had, unless something has changed since.
    pub(crate) fn read(&self, begun: Reading, id: AccountId, account: Arc<Account>) {
        let mut inner = self.lock();
        if inner.changes == begun.0 {
            inner.keep(id, Known { account, row: None });
        }
    }

    /// Caches an account's new state with the hash of its row. The store has it already. None: the account was removed.
    pub(crate) fn changed(&self, id: AccountId, now: Option<(Arc<Account>, RowHash)>) {
        let mut inner = self.lock();
        inner.changes += 1;
        inner.old.remove(&id);
        match now {
            Some((account, row)) => inner.keep(id, Known { account, row: Some(row) }),
            None => drop(inner.young.remove(&id)),
        }
    }

    /// Empties the cache: any account may have changed.
    pub(crate) fn clear(&self) {
        let mut inner = self.lock();
        *inner = Inner { changes: inner.changes + 1, ..Inner::default() };
    }
}

impl Inner {
    fn keep(&mut self, id: AccountId, known: Known) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, known);
    }
}

#[cfg(test)]
mod tests {
    use bkv_core::digest::Digest;
    use bkv_core::id::{Generation, Ordinal, Route, Time};

    use super::*;

    fn account(ordinal: u64) -> Arc<Account> {
        let new = Account::new(Route([0; 32]), Time(0), 0);
        Arc::new(Account { generation: Generation(1), ordinal: Ordinal(ordinal), ..new })
    }

    fn id(n: usize) -> AccountId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        AccountId(bytes)
    }

    fn changed(recent: &Recent, n: usize, ordinal: u64) {
        let account = account(ordinal);
        let row = RowHash::of(&id(n), &account);
        recent.changed(id(n), Some((account, row)));
    }

    fn ordinal(recent: &Recent, n: usize) -> Option<u64> {
        recent.get(&id(n)).ok().map(|a| a.ordinal.0)
    }

    /// S09: a slow reader must not cache the account as it was before the charge.
    #[test]
    fn s09_what_was_read_before_a_change_is_not_kept_after_it() {
        let recent = Recent::default();
        let Err(begun) = recent.get(&id(1)) else { panic!("empty") };
        changed(&recent, 1, 5);
        // Many other accounts push it out before the reader comes back.
        (10..10 + 2 * HALF + 2).for_each(|n| changed(&recent, n, 0));
        assert_eq!(ordinal(&recent, 1), None);
        recent.read(begun, id(1), account(4));
        assert_eq!(ordinal(&recent, 1), None);
    }

    /// S48: a hash of another state of the account would make this replica's digest wrong for good.
    #[test]
    fn s48_a_row_hash_is_that_of_the_cached_account() {
        let recent = Recent::default();
        let digest = |hash: &RowHash| {
            let mut digest = Digest::default();
            digest.add(hash);
            digest
        };
        let Err(begun) = recent.get(&id(1)) else { panic!("empty") };
        recent.read(begun, id(1), account(4));
        assert!(recent.row_hash(&id(1)).is_none(), "read and not applied");
        for ordinal in [5, 6] {
            changed(&recent, 1, ordinal);
            let expected = digest(&RowHash::of(&id(1), &account(ordinal)));
            assert!(recent.row_hash(&id(1)).is_some_and(|hash| digest(&hash) == expected));
        }
        recent.changed(id(1), None);
        assert!(recent.row_hash(&id(1)).is_none());
    }

    #[test]
    fn what_was_removed_is_not_found() {
        let recent = Recent::default();
        let Err(begun) = recent.get(&id(1)) else { panic!("empty") };
        changed(&recent, 1, 5);
        recent.changed(id(1), None);
        recent.read(begun, id(1), account(4));
        assert_eq!(ordinal(&recent, 1), None);
    }

    #[test]
    fn what_is_used_stays_and_the_whole_is_bounded() {
        let recent = Recent::default();
        changed(&recent, 0, 7);
        for n in 1..10 * HALF {
            changed(&recent, n, 1);
            assert_eq!(ordinal(&recent, 0), Some(7));
        }
        let inner = recent.lock();
        assert!(inner.young.len() + inner.old.len() <= 2 * HALF);
        drop(inner);
        recent.clear();
        assert_eq!(ordinal(&recent, 0), None);
    }
}
