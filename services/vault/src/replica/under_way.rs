//! Limits how many proposals of one account wait or are being committed at this leader. First come, first served.
//!
//! Without the limit one token holder with many streams could fill the queue in front of the log, and with it the log of every region. A proposal that closes
//! an attempt is never counted: while a thief of the token holds all permits, the person's own attempt must still end well. A proposal that the live owner
//! key signed is not counted either.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bkv_core::command::{Command, Purpose};
use bkv_core::id::AccountId;
use parking_lot::Mutex;

/// Most proposals of one account. A session sends one at a time.
const MOST: u32 = 4;

/// The proposals under way in one shard.
#[derive(Default)]
pub(crate) struct UnderWay(Mutex<HashMap<AccountId, u32>>);

/// Permits one proposal of an account. Dropping it gives the permit back.
pub(crate) struct ProposalPermit {
    of: Arc<UnderWay>,
    account: AccountId,
}

impl UnderWay {
    /// Takes a permit. None if the account has none left.
    pub(crate) fn enter(self: &Arc<Self>, account: AccountId) -> Option<ProposalPermit> {
        let mut all = self.0.lock();
        let held = all.entry(account).or_insert(0);
        if *held >= MOST {
            return None;
        }
        *held += 1;
        Some(ProposalPermit { of: self.clone(), account })
    }
}

impl Drop for ProposalPermit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut held) = self.of.0.lock().entry(self.account) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }
}

/// True if the command counts against the account's four proposals.
pub(super) const fn is_counted(command: &Command) -> bool {
    matches!(command.purpose(), Purpose::Deletes | Purpose::Changes)
}

/// A full vault accepts commands that close an attempt, delete a key or belong to the fleet.
pub(super) const fn accepted_when_full(command: &Command) -> bool {
    !matches!(command.purpose(), Purpose::Changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S50: one account has four permits, another account its own, and a permit that is given back can be taken again.
    #[test]
    fn s50_an_account_has_four_permits_and_gets_them_back() {
        let all = Arc::new(UnderWay::default());
        let (anna, ben) = (AccountId([1; 32]), AccountId([2; 32]));
        let mut held: Vec<ProposalPermit> = (0..MOST).map(|_| all.enter(anna).unwrap()).collect();
        assert!(all.enter(anna).is_none());
        assert!(all.enter(ben).is_some(), "another account");
        held.pop();
        held.push(all.enter(anna).unwrap());
        assert!(all.enter(anna).is_none());
        drop(held);
        assert!(all.0.lock().is_empty(), "nothing is kept of an account with nothing under way");
    }
}
