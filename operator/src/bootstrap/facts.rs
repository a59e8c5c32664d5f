//! The input and the output of a decision.

use std::collections::BTreeMap;

use bkv_core::id::{Slot, Time};
use bkv_wire::documents::Kind;

use crate::conditions::Trouble;
use crate::journal::{Journal, Pinned, Stage};
use crate::vaults::{VaultStatus, VaultToken};
use bkv_admin_api::draft::{Draft, PolicyWish};

/// Who keeps the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Custody {
    /// The vaults.
    InFleet,
    /// People.
    Offline,
}

/// The two documents, signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// Which vaults exist.
    pub admission: Option<Vec<u8>>,
    /// What they enforce.
    pub policy: Option<Vec<u8>>,
}

/// A vault that answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Vault {
    /// How it is.
    pub status: VaultStatus,
    /// Its public parts, if its token gives them.
    pub token: Option<VaultToken>,
}

/// What is known.
#[derive(Clone, Debug)]
pub struct Facts {
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
    pub fn stage(&self, journal: &Journal) -> Stage {
        let known = self.vaults.values().any(|v| v.status.fleet.as_deref() == Some(&journal.fleet));
        if known { journal.stage.max(Stage::Initialising) } else { journal.stage }
    }

    /// The first vault that keeps the private half of the published root. Skips a vault that reports another root: it has lost its volumes, or it lies.
    pub fn holder(&self) -> Option<&String> {
        let published = self.root.as_ref().map(|b| bkv_wire::documents::fingerprint("root", b))?;
        let mut vaults = self.vaults.iter();
        vaults.find(|(_, v)| v.status.root_held && v.status.root.as_ref() == Some(&published)).map(|(r, _)| r)
    }
}

/// Something to do. Every action can be repeated without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write the journal, if there is none yet.
    WriteJournal(Journal),
    /// Move the journal to a later stage.
    Advance(Stage),
    /// Ask a vault for the public root and publish it.
    PublishRoot {
        /// Which.
        region: String,
    },
    /// Publish the root that people gave.
    PublishGivenRoot(Vec<u8>),
    /// Have a vault sign with the in-fleet root, and keep the result.
    Sign {
        /// Which.
        region: String,
        /// What.
        draft: Box<Draft>,
    },
    /// Ask people to sign.
    AskForSignatures(Vec<Draft>),
    /// Withdraw the request for signatures.
    WithdrawRequest,
    /// Get the document in force from a vault and keep it, because the cluster has lost its copy.
    Recover {
        /// Which vault.
        region: String,
        /// Which document.
        kind: Kind,
    },
    /// Keep what people have signed.
    KeepSigned {
        /// Which.
        kind: Kind,
        /// The document.
        signed: Vec<u8>,
    },
    /// Hand a vault a signed document.
    Install {
        /// Which.
        region: String,
        /// Which document.
        kind: Kind,
        /// The document.
        signed: Vec<u8>,
    },
    /// Make the fleet.
    Initialise {
        /// At this vault.
        region: String,
    },
    /// Carry the sealed root from one vault to another.
    HandRootOver {
        /// From.
        from: String,
        /// To.
        to: String,
        /// The receiver's slot.
        slot: Slot,
    },
}

impl Action {
    /// For logs, metrics and waits: a closed set.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::WriteJournal(_) => "WriteJournal",
            Self::Advance(_) => "Advance",
            Self::PublishRoot { .. } => "PublishRoot",
            Self::PublishGivenRoot(_) => "PublishGivenRoot",
            Self::Sign { .. } => "Sign",
            Self::AskForSignatures(_) => "AskForSignatures",
            Self::WithdrawRequest => "WithdrawRequest",
            Self::Recover { .. } => "Recover",
            Self::KeepSigned { .. } => "KeepSigned",
            Self::Install { .. } => "Install",
            Self::Initialise { .. } => "Initialise",
            Self::HandRootOver { .. } => "HandRootOver",
        }
    }
}

/// Where the fleet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// On its way; the step.
    Bootstrapping(&'static str),
    /// People must sign before anything goes on.
    AwaitingSignature,
    /// It is made.
    Made,
    /// It was made, and no vault knows it: volumes or tokens are gone. The operator changes nothing.
    Lost,
    /// The objects in the cluster contradict each other. The operator changes nothing.
    Contradiction,
}

/// What is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Actions, in order. The first that fails ends the stage. The pass still reports.
    pub actions: Vec<Action>,
    /// What the fleet waits for.
    pub waits: Vec<Trouble>,
    /// Where the fleet stands.
    pub verdict: Verdict,
}
