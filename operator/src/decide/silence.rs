//! Vaults that do not answer the operator.

use super::facts::Facts;
use crate::conditions::{Check, Trouble};
use crate::journal::JournalStage;

/// The wait for a vault that does not answer, or whose answer lacks its token. Once the fleet is made, a vault whose pod runs
/// should answer. If it does not, a person may have to act.
pub(super) fn unanswered(f: &Facts, region: &str) -> Trouble {
    let made = f.journal.as_ref().is_some_and(|j| j.stage == JournalStage::Initialised);
    match f.silent.get(region) {
        Some(why) if made => {
            let message = format!("the pod runs, but the vault does not answer the operator: {why}");
            Trouble::new(Check::VaultSilent, region, message)
        }
        Some(why) => {
            let message = format!("the vault of {region} does not answer yet: {why}");
            Trouble::new(Check::VaultStarting, region, message)
        }
        None => {
            Trouble::new(Check::VaultStarting, region, format!("the vault of {region} does not answer yet"))
        }
    }
}
