//! The bytes that ChatD has received from clients and not yet written to a vault. Each account has a budget: frames are counted too, but 200 frames of
//! 64 KiB would be 12.8 MiB that ChatD keeps for one account.

use std::collections::HashMap;
use std::sync::Arc;

use bkv_core::id::Route;
use parking_lot::Mutex;

/// Most bytes under way of one account.
pub const ACCOUNT: usize = 256 << 10;
/// Most bytes under way of one account once all accounts together use half of `ALL`. Enough for any request. So a few accounts can't use up the rest.
pub const FAIR: usize = 64 << 10;
/// Most bytes under way of all accounts.
pub const ALL: usize = 64 << 20;

#[derive(Debug, Default)]
struct Sizes {
    accounts: HashMap<Route, usize>,
    all: usize,
}

/// The bytes under way of all accounts.
#[derive(Clone, Debug, Default)]
pub struct Underway(Arc<Mutex<Sizes>>);

/// Bytes of one account that are under way until this is dropped.
#[derive(Debug)]
pub struct Charge {
    underway: Underway,
    account: Route,
    size: usize,
}

impl Underway {
    /// Counts bytes of an account. None if it has too many under way.
    pub fn charge(&self, account: Route, size: usize) -> Option<Charge> {
        let mut sizes = self.0.lock();
        let most = if sizes.all > ALL / 2 { FAIR } else { ACCOUNT };
        let own = sizes.accounts.get(&account).copied().unwrap_or(0).saturating_add(size);
        let all = sizes.all.saturating_add(size);
        if own > most || all > ALL {
            return None;
        }
        sizes.accounts.insert(account, own);
        sizes.all = all;
        Some(Charge { underway: self.clone(), account, size })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut sizes = self.underway.0.lock();
        sizes.all = sizes.all.saturating_sub(self.size);
        if let Some(own) = sizes.accounts.get_mut(&self.account) {
            *own = own.saturating_sub(self.size);
            if *own == 0 {
                sizes.accounts.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
#[path = "underway_test.rs"]
mod tests;
