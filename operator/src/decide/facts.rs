//! The input of a decision.

use std::collections::BTreeMap;

use bkv_admin_api::draft::PolicyWish;
use bkv_core::id::{Slot, Time};

use crate::journal::{Journal, JournalStage, Pinned};
use crate::observe::Signed;
use crate::vaults::Vault;

/// Who keeps the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Custody {
    /// The vaults.
    InFleet,
    /// People.
    Offline,
}

/// What is known.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Who keeps the root.
    pub custody: Custody,
    /// The regions in the order of their slots.
    pub regions: Vec<(Slot, String)>,
    /// The policy that the spec asks for. None while the issuer's keys are missing.
    pub wish: Option<PolicyWish>,
    /// What the vaults of a new fleet run from.
    pub pinned: Pinned,
    /// The journal, if there is one.
    pub journal: Option<Journal>,
    /// Volumes or workloads of an earlier fleet of this name lie in the cluster.
    pub remains: bool,
    /// The id that a new fleet would get, 32 hexadecimal digits.
    pub new_id: String,
    /// The public root that is published.
    pub root: Option<Vec<u8>>,
    /// The public root that people gave (offline custody).
    pub given_root: Option<Vec<u8>>,
    /// The documents in force, as they are kept in the cluster.
    pub documents: Signed,
    /// People are being asked to sign.
    pub requested: bool,
    /// What people have signed (offline custody).
    pub given: Signed,
    /// The vaults that answer, by region.
    pub vaults: BTreeMap<String, Vault>,
    /// Why vaults whose pods run do not answer, by region.
    pub silent: BTreeMap<String, String>,
    /// Now.
    pub now: Time,
}

impl Facts {
    /// The fleet's stage. A vault that knows the fleet outweighs a journal that somebody has set back.
    pub(super) fn stage(&self, journal: &Journal) -> JournalStage {
        let known = self.vaults.values().any(|v| v.status.fleet.as_deref() == Some(&journal.fleet));
        if known { journal.stage.max(JournalStage::Initialising) } else { journal.stage }
    }

    /// The first vault that keeps the private half of the published root. Skips a vault that reports another root: it has lost its volumes, or it lies.
    pub(super) fn holder(&self) -> Option<&String> {
        let published = self.root.as_ref().map(|b| bkv_wire::documents::fingerprint("root", b))?;
        let mut vaults = self.vaults.iter();
        vaults.find(|(_, v)| v.status.root_held && v.status.root.as_ref() == Some(&published)).map(|(r, _)| r)
    }
}
