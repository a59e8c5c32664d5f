//! The output of a decision.

use bkv_admin_api::draft::Draft;
use bkv_core::id::Slot;
use bkv_wire::documents::Kind;

use crate::conditions::Trouble;
use crate::journal::{Journal, JournalStage};

/// Something to do. Every action can be repeated without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Write the journal, if there is none yet.
    WriteJournal(Journal),
    /// Move the journal to a later stage.
    Advance(JournalStage),
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
    pub(crate) const fn name(&self) -> &'static str {
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
pub(crate) enum Verdict {
    /// The fleet is being made; the current step.
    Bootstrapping(&'static str),
    /// People must sign before anything goes on.
    AwaitingSignature,
    /// It is made.
    Made,
    /// It was made, and no vault knows it: volumes or tokens are gone. The operator applies no plan and takes no action.
    Lost,
    /// The objects in the cluster contradict each other. The operator applies no plan and takes no action.
    Contradiction,
}

/// What is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Actions, in order. The first that fails ends the stage. The pass still reports.
    pub actions: Vec<Action>,
    /// What the fleet waits for.
    pub waits: Vec<Trouble>,
    /// Where the fleet stands.
    pub verdict: Verdict,
}

impl Decision {
    /// Whether the pass may apply its plan. A fleet that is lost, or that contradicts its journal, is left as it is.
    pub(crate) const fn allows_changes(&self) -> bool {
        !matches!(self.verdict, Verdict::Lost | Verdict::Contradiction)
    }
}
