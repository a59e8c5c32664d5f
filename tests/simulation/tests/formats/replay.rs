//! Applies the entries of a fixture by the rules of this version.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bkv_core::account::Account;
use bkv_core::batch::Batch;
use bkv_core::id::AccountId;
use bkv_core::outcome::Outcome;
use bkv_core::shard::{Accounts, At, Shard};
use bkv_wire::documents::Root;
use bkv_wire::verifier::WireVerifier;

/// The accounts of a shard.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct State(BTreeMap<AccountId, Account>);

impl Accounts for State {
    type Error = Infallible;

    fn get(&mut self, id: &AccountId) -> Result<Option<Account>, Infallible> {
        Ok(self.0.get(id).cloned())
    }

    fn put(&mut self, id: &AccountId, account: Account) -> Result<(), Infallible> {
        self.0.insert(*id, account);
        Ok(())
    }

    fn remove(&mut self, id: &AccountId) -> Result<(), Infallible> {
        self.0.remove(id);
        Ok(())
    }
}

impl State {
    /// The state after these entries. Panics if one is refused.
    pub(crate) fn after<'a>(root: &[u8], entries: impl IntoIterator<Item = (u64, &'a [u8])>) -> Self {
        let verifier = WireVerifier::new(Root::decode(root).unwrap());
        let (mut shard, mut state) = (Shard::default(), Self::default());
        for (index, batch) in entries {
            let batch: Batch = minicbor::decode(batch).unwrap();
            let at = At { shard: 0, index, time: shard.advance(batch.time) };
            for command in &batch.commands {
                let Ok(applied) = shard.apply(at, command, &mut state, &verifier);
                assert!(
                    !matches!(applied.outcome, Outcome::Refused(_)),
                    "entry {index}: {:?}",
                    applied.outcome
                );
            }
        }
        state
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self.0.iter().collect::<Vec<_>>()).unwrap()
    }
}
