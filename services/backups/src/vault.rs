//! What a vault does for backups: it names the newest ledger of each writer, and keeps V. `bkv` implements this trait by the SDK.

use crate::format::secret::Secret;
use crate::format::{Hash, Id};

/// Number and hash of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Its counter.
    pub counter: u64,
    /// SHA-256 of its object.
    pub hash: Hash,
}

/// A compare-and-swap of a writer's entry, which the owner signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetLedger {
    /// The device.
    pub writer: Id,
    /// The hash that must be there now. None for a writer that the vault does not know.
    pub expected: Option<Hash>,
    /// The new ledger.
    pub new: Named,
    /// The V that the ledger is sealed under. The vault takes an equal one as no change. None keeps the one that is there.
    pub v: Option<Secret>,
}

/// Why the vault did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultFault {
    /// It can't be reached, or too few regions answer.
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    /// Another ledger is named than the one expected.
    #[error("another ledger is named")]
    Refused {
        /// What is named now.
        named: Option<Named>,
    },
    /// The key was destroyed, deleted or replaced, so it will never name this ledger.
    #[error("the key of these backups is gone: {0}")]
    KeyGone(String),
    /// The vault keeps as many writers as it can.
    #[error("it knows {0} other devices already; forget one that is no longer used")]
    TooManyWriters(u32),
    /// V was changed less than the grace time ago, or the sign-in is too old.
    #[error("V can't be changed now: {0}")]
    NotNow(String),
}

/// The vault of an account, or the absence of one.
pub trait Vault: Send + Sync {
    /// The ledger that the vault names for a writer. None if it knows none.
    fn named(&self, writer: &Id) -> Result<Option<Named>, VaultFault>;
    /// Names a ledger.
    fn set(&self, change: &SetLedger) -> Result<(), VaultFault>;
    /// False in 64-digit mode: then there is no V, and a rollback can be noticed only by this device.
    fn exists(&self) -> bool {
        true
    }
}

/// 64-digit mode.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoVault;

impl Vault for NoVault {
    fn named(&self, _: &Id) -> Result<Option<Named>, VaultFault> {
        Ok(None)
    }

    fn set(&self, _: &SetLedger) -> Result<(), VaultFault> {
        Ok(())
    }

    fn exists(&self) -> bool {
        false
    }
}

/// Whether the vault knows the newest ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// It names it.
    Named,
    /// There is no vault.
    NoVault,
    /// It does not. The backup is whole. Another device can't notice if an older one is served in its place.
    NotNamed {
        /// Why.
        fault: VaultFault,
        /// Since when the vault has been behind, in milliseconds since 1970.
        since_ms: i64,
        /// True if the vault has no V of this writer yet: then no other device can open these backups.
        opens_nowhere_else: bool,
    },
}
