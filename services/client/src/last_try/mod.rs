//! What a device keeps of its last try. After a crash the device resumes it without a charge. No other attempt is written to disk.
//!
//! A thief of this file and the account's token has eight guesses at the password that was typed ([`bkv_core::account::Pending::MAX_CONFLICTS`]). With any
//! region's log as well, which holds B, the thief can guess offline, at the price of Argon2id for each guess. So the file is wiped as soon as the try ends.

mod file;

use bkv_core::account::State;
use bkv_core::id::{AccountId, AttemptId, Generation, Lineage, Ordinal, Time};
use bkv_core::record::KsfParams;
use bkv_core::statement::Attested;
use bkv_crypto::opaque::Stretch;
use bkv_crypto::password::Prepared;
use bkv_crypto::toprf::{self, Blinded};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::Error;
use crate::memory::MemoryError;
use crate::runtime::Runtime;
pub use file::FileLastTry;

/// Where a device keeps its open last try.
pub trait KeepLastTry: std::fmt::Debug + Send + Sync {
    /// The one that is kept, if there is one.
    fn load(&self) -> Result<Option<OpenLastTry>, MemoryError>;
    /// Keeps it, for its owner only. It is durable before the call returns, so before its `Begin` is sent.
    fn keep(&self, open: &OpenLastTry) -> Result<(), MemoryError>;
    /// Overwrites and removes it.
    fn wipe(&self) -> Result<(), MemoryError>;
}

/// A last try that has begun, or is about to. The blinding factor follows from it *and the password*.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct OpenLastTry {
    #[zeroize(skip)]
    pub(crate) lineage: Lineage,
    #[zeroize(skip)]
    pub(crate) account: AccountId,
    #[zeroize(skip)]
    pub(crate) attempt: AttemptId,
    pub(crate) cancel: [u8; 32],
    pub(crate) secret: [u8; 32],
    #[zeroize(skip)]
    pub(crate) ksf: KsfParams,
    /// The registration that the try is for.
    #[zeroize(skip)]
    pub(crate) generation: Generation,
    /// The number of the try, as t regions signed it. With it this device recognises regions that lag behind, or lie, when it asks whether the try is over.
    #[zeroize(skip)]
    pub(crate) ordinal: Ordinal,
    /// When the try ends at the latest, by this device's clock.
    #[zeroize(skip)]
    pub(crate) until: Time,
}

impl OpenLastTry {
    /// The try that would come after what t regions sign.
    pub(crate) fn new(
        runtime: &Runtime,
        lineage: Lineage,
        says: &Attested,
        ksf: KsfParams,
        last_try_ms: u64,
    ) -> Self {
        Self {
            lineage,
            account: says.account,
            attempt: AttemptId(runtime.bytes()),
            cancel: runtime.bytes(),
            secret: runtime.bytes(),
            ksf,
            generation: says.generation,
            ordinal: Ordinal(says.ordinal.0.saturating_add(1)),
            until: runtime.clock.now().plus(last_try_ms),
        }
    }

    /// When the try ends, by this device's clock. Until then the device can go on with it. The vaults may end it sooner: a leader's claim is believed only if it
    /// says so.
    pub const fn until(&self) -> Time {
        self.until
    }

    /// True if a region signs that this try is open.
    pub(crate) fn is_open(&self, a: &Attested) -> bool {
        a.state == State::LastTry && (a.generation, a.ordinal) == (self.generation, self.ordinal)
    }

    /// True if a region signs that this try is over: by a success, by the end of the key, or because the key was registered anew.
    pub(crate) fn is_over(&self, a: &Attested) -> bool {
        let ended = matches!(a.state, State::Destroyed | State::Deleted);
        a.generation > self.generation
            || (a.generation == self.generation && (ended || a.success >= self.ordinal))
    }

    /// True if a region signs a state before this try began.
    pub(crate) fn is_to_come(&self, a: &Attested) -> bool {
        a.generation == self.generation && a.ordinal < self.ordinal
    }

    /// The same B again from the same password. Stretches the password.
    pub(crate) fn blind(&self, password: &Prepared) -> Result<Blinded, Error> {
        let local = |e: &dyn std::fmt::Display| Error::Local(e.to_string());
        let stretch = Stretch::within(self.ksf, &self.ksf, &self.ksf).map_err(|e| local(&e))?;
        let factor =
            stretch.blinding_factor(password.expose(), &self.secret, &self.attempt).map_err(|e| local(&e))?;
        toprf::blind_by(password.expose(), &factor).map_err(|e| Error::PasswordRefused(e.to_string()))
    }
}

impl std::fmt::Debug for OpenLastTry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenLastTry").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}
