//! A bounded cache of recently used accounts in decoded form. A recovery reads its account about ten times in each replica, and opening and decoding
//! the row costs more than most of the work on it. The cache is never older than the store.

use std::collections::HashMap;
use std::sync::Arc;

use bkv_core::account::Account;
use bkv_core::id::AccountId;
use parking_lot::{Mutex, MutexGuard};

/// Most accounts in each of the two halves.
const HALF: usize = 512;

#[derive(Default)]
pub(crate) struct Recent(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Accounts used since `young` last became `old`.
    young: HashMap<AccountId, Arc<Account>>,
    old: HashMap<AccountId, Arc<Account>>,
    /// Rises with every change. A reader that read the store before a change must not cache the older account after it.
    changes: u64,
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
        if let Some(account) = inner.young.get(id) {
            return Ok(account.clone());
        }
        match inner.old.remove(id) {
            Some(account) => {
                inner.keep(*id, account.clone());
                Ok(account)
            }
            None => Err(Reading(inner.changes)),
        }
    }

    /// Caches what the store had, unless something has changed since.
    pub(crate) fn read(&self, begun: Reading, id: AccountId, account: Arc<Account>) {
        let mut inner = self.lock();
        if inner.changes == begun.0 {
            inner.keep(id, account);
        }
    }

    /// Caches an account's new state. The store has it already. None: the account was removed.
    pub(crate) fn changed(&self, id: AccountId, account: Option<Arc<Account>>) {
        let mut inner = self.lock();
        inner.changes += 1;
        inner.old.remove(&id);
        match account {
            Some(account) => inner.keep(id, account),
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
    fn keep(&mut self, id: AccountId, account: Arc<Account>) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, account);
    }
}

#[cfg(test)]
mod tests {
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

    fn ordinal(recent: &Recent, n: usize) -> Option<u64> {
        recent.get(&id(n)).ok().map(|a| a.ordinal.0)
    }

    /// S09: a slow reader must not cache the account as it was before the charge.
    #[test]
    fn s09_what_was_read_before_a_change_is_not_kept_after_it() {
        let recent = Recent::default();
        let Err(begun) = recent.get(&id(1)) else { panic!("empty") };
        recent.changed(id(1), Some(account(5)));
        // Many other accounts push it out before the reader comes back.
        (10..10 + 2 * HALF + 2).for_each(|n| recent.changed(id(n), Some(account(0))));
        assert_eq!(ordinal(&recent, 1), None);
        recent.read(begun, id(1), account(4));
        assert_eq!(ordinal(&recent, 1), None);
    }

    #[test]
    fn what_was_removed_is_not_found() {
        let recent = Recent::default();
        let Err(begun) = recent.get(&id(1)) else { panic!("empty") };
        recent.changed(id(1), Some(account(5)));
        recent.changed(id(1), None);
        recent.read(begun, id(1), account(4));
        assert_eq!(ordinal(&recent, 1), None);
    }

    #[test]
    fn what_is_used_stays_and_the_whole_is_bounded() {
        let recent = Recent::default();
        recent.changed(id(0), Some(account(7)));
        for n in 1..10 * HALF {
            recent.changed(id(n), Some(account(1)));
            assert_eq!(ordinal(&recent, 0), Some(7));
        }
        let inner = recent.lock();
        assert!(inner.young.len() + inner.old.len() <= 2 * HALF);
        drop(inner);
        recent.clear();
        assert_eq!(ordinal(&recent, 0), None);
    }
}
