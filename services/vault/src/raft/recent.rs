//! A bounded cache of recently used accounts in decoded form. A recovery reads its account about ten times in each replica, and opening and decoding
//! the row costs more than most of the work on it. The cache is never older than the store.

use std::collections::HashMap;
use std::sync::Arc;

use bkv_core::account::Account;
use bkv_core::digest::{RowHash, RowNumbers};
use bkv_core::id::AccountId;
use parking_lot::{Mutex, MutexGuard};

/// Most accounts in each of the two halves.
const ACCOUNTS: usize = 512;
/// Most rows' numbers in each of the two halves. They have 2 KiB each. An account changes two or three times in a recovery, and few recoveries of one shard go on at once.
const NUMBERS: usize = 64;

#[derive(Default)]
pub(crate) struct Recent(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    accounts: Halves<Known, ACCOUNTS>,
    /// The numbers of exactly the row that the account has now.
    numbers: Halves<Arc<RowNumbers>, NUMBERS>,
    /// Rises with every change. A reader that read the store before a change must not cache the older account after it.
    changes: u64,
}

struct Known {
    account: Arc<Account>,
    /// The hash of exactly this account's row, if the account was applied and not read.
    row: Option<RowHash>,
}

/// What the digest needs of an applied account's row.
pub(crate) struct DigestRow {
    pub(crate) hash: RowHash,
    pub(crate) numbers: Arc<RowNumbers>,
}

/// What was used since the young half last became the old one, and what was used before.
struct Halves<V, const MOST: usize> {
    young: HashMap<AccountId, V>,
    old: HashMap<AccountId, V>,
}

impl<V, const MOST: usize> Default for Halves<V, MOST> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<V, const MOST: usize> Halves<V, MOST> {
    fn peek(&self, id: &AccountId) -> Option<&V> {
        self.young.get(id).or_else(|| self.old.get(id))
    }

    /// What is used stays.
    fn get(&mut self, id: &AccountId) -> Option<&V> {
        if let Some(value) = self.old.remove(id) {
            self.keep(*id, value);
        }
        self.young.get(id)
    }

    fn keep(&mut self, id: AccountId, value: V) {
        if self.young.len() >= MOST {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, value);
    }

    fn remove(&mut self, id: &AccountId) {
        self.young.remove(id);
        self.old.remove(id);
    }
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
        let known = inner.accounts.get(id).map(|known| known.account.clone());
        known.ok_or(Reading(inner.changes))
    }

    /// The numbers of the account's row, if they or their hash are at hand.
    pub(crate) fn row_numbers(&self, id: &AccountId) -> Option<Arc<RowNumbers>> {
        let inner = self.lock();
        if let Some(numbers) = inner.numbers.peek(id) {
            return Some(numbers.clone());
        }
        let hash = inner.accounts.peek(id)?.row.clone()?;
        drop(inner);
        Some(Arc::new(hash.expand()))
    }

    /// Caches what the store had, unless something has changed since.
    pub(crate) fn read(&self, begun: Reading, id: AccountId, account: Arc<Account>) {
        let mut inner = self.lock();
        if inner.changes == begun.0 {
            inner.accounts.keep(id, Known { account, row: None });
        }
    }

    /// Caches an account's new state with its row. The store has it already. None: the account was removed.
    pub(crate) fn changed(&self, id: AccountId, now: Option<(Arc<Account>, DigestRow)>) {
        let mut inner = self.lock();
        inner.changes += 1;
        inner.accounts.remove(&id);
        inner.numbers.remove(&id);
        if let Some((account, DigestRow { hash, numbers })) = now {
            inner.accounts.keep(id, Known { account, row: Some(hash) });
            inner.numbers.keep(id, numbers);
        }
    }

    /// Empties the cache: any account may have changed.
    pub(crate) fn clear(&self) {
        let mut inner = self.lock();
        *inner = Inner { changes: inner.changes + 1, ..Inner::default() };
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
        let hash = RowHash::of(&id(n), &account);
        let numbers = Arc::new(hash.expand());
        recent.changed(id(n), Some((account, DigestRow { hash, numbers })));
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
        (10..10 + 2 * ACCOUNTS + 2).for_each(|n| changed(&recent, n, 0));
        assert_eq!(ordinal(&recent, 1), None);
        recent.read(begun, id(1), account(4));
        assert_eq!(ordinal(&recent, 1), None);
    }

    /// S48: a hash of another state of the account would make this replica's digest wrong for good.
    #[test]
    fn s48_a_row_hash_is_that_of_the_cached_account() {
        let recent = Recent::default();
        let digest = |row: &RowNumbers| {
            let mut digest = Digest::default();
            digest.add(row);
            digest
        };
        let others = || (10..10 + 2 * NUMBERS).for_each(|n| changed(&recent, n, 0));
        let Err(begun) = recent.get(&id(1)) else { panic!("empty") };
        recent.read(begun, id(1), account(4));
        assert!(recent.row_numbers(&id(1)).is_none(), "read and not applied");
        for ordinal in [5, 6] {
            changed(&recent, 1, ordinal);
            let expected = digest(&RowNumbers::of(&id(1), &account(ordinal)));
            let right = || recent.row_numbers(&id(1)).is_some_and(|row| digest(&row) == expected);
            assert!(right(), "from its numbers");
            others();
            assert!(recent.lock().numbers.peek(&id(1)).is_none());
            assert!(right(), "from its hash");
        }
        recent.changed(id(1), None);
        assert!(recent.row_numbers(&id(1)).is_none());
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
        for n in 1..10 * ACCOUNTS {
            changed(&recent, n, 1);
            assert_eq!(ordinal(&recent, 0), Some(7));
        }
        let inner = recent.lock();
        assert!(inner.accounts.young.len() + inner.accounts.old.len() <= 2 * ACCOUNTS);
        assert!(inner.numbers.young.len() + inner.numbers.old.len() <= 2 * NUMBERS);
        drop(inner);
        recent.clear();
        assert_eq!(ordinal(&recent, 0), None);
    }
}
