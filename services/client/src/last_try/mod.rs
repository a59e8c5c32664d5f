//! What a device keeps of its last try. After a crash the device resumes it without a charge. The file is written before the `Begin` leaves, and only if t
//! regions sign that one try is left. If another device succeeds in between, the attempt is an ordinary one after all. Then the file is wiped as soon as t
//! regions sign that: in the answer to the `Begin`, or when this device asks after a crash.
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

    /// When the try ends, by this device's clock. Until then the device can go on with it. A vault may end it sooner. The device believes a
    /// leader's claim only if it names an earlier end.
    pub const fn until(&self) -> Time {
        self.until
    }

    /// True if a region signs that this try is open.
    pub(crate) fn is_open(&self, a: &Attested) -> bool {
        a.state == State::LastTry && (a.generation, a.ordinal) == (self.generation, self.ordinal)
    }

    /// True if a region signs that this try is over: because the key was registered anew, by the end of the key, or because an attempt with this number or a
    /// later one has begun and no last try is open. A last try ends by a success or with the key, so that attempt succeeded or was an ordinary one.
    pub(crate) fn is_over(&self, a: &Attested) -> bool {
        let over = match a.state {
            State::Destroyed | State::Deleted => true,
            State::Live | State::Locked => a.ordinal >= self.ordinal,
            State::LastTry | State::None => false,
        };
        a.generation > self.generation || (a.generation == self.generation && over)
    }

    /// True if a region signs that a last try with a later number is open. It is this one if a leader held its `Begin` back. Otherwise it is another device's.
    pub(crate) fn may_be_late(&self, a: &Attested) -> bool {
        a.state == State::LastTry && a.generation == self.generation && a.ordinal > self.ordinal
    }

    /// True if a region signs a state before this try began, in which the next attempt is the last try.
    pub(crate) fn is_next(&self, a: &Attested) -> bool {
        self.is_to_come(a) && a.state == State::Live && a.tries_left == 1
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

#[cfg(test)]
mod tests {
    use bkv_core::id::{Hash, Slot};

    use super::*;

    pub(super) fn open() -> OpenLastTry {
        OpenLastTry {
            lineage: Lineage([1; 32]),
            account: AccountId([2; 32]),
            attempt: AttemptId([3; 16]),
            cancel: [4; 32],
            secret: [5; 32],
            ksf: KsfParams { memory_kib: 8, passes: 1, lanes: 1 },
            generation: Generation(6),
            ordinal: Ordinal(7),
            until: Time(8),
        }
    }

    fn signs(state: State, generation: u64, ordinal: u64) -> Attested {
        Attested {
            nonce: [0; 32],
            subject: Hash([0; 32]),
            slot: Slot(1),
            lineage: Lineage([1; 32]),
            era: bkv_core::id::Era(1),
            account: AccountId([2; 32]),
            state,
            generation: Generation(generation),
            ordinal: Ordinal(ordinal),
            success: Ordinal(0),
            tries_left: 1,
            next_allowed: Time(0),
            record: Hash([0; 32]),
            index: 0,
            writers: Vec::new(),
            owner: Hash([0; 32]),
            retired: Vec::new(),
            lifetime_failures: 0,
            time: Time(0),
        }
    }

    /// A state without a phase would lock the device out. A state with two phases would end an open try.
    #[test]
    fn s09_each_state_of_an_account_is_one_phase_of_the_kept_try() {
        let kept = open();
        for state in [State::Live, State::LastTry, State::Locked, State::Destroyed, State::Deleted] {
            for (generation, ordinal) in [(6, 6), (6, 7), (6, 8), (7, 0), (7, 7)] {
                let a = signs(state, generation, ordinal);
                let ended = matches!(state, State::Destroyed | State::Deleted);
                let want = match (generation, ordinal, state) {
                    (7, ..) => [true, false, false, false],
                    _ if ended => [true, false, false, ordinal < 7],
                    (_, 6, _) => [false, false, false, true],
                    (_, 7, State::LastTry) => [false, true, false, false],
                    (_, _, State::LastTry) => [false, false, true, false],
                    _ => [true, false, false, false],
                };
                let phases = [kept.is_over(&a), kept.is_open(&a), kept.may_be_late(&a), kept.is_to_come(&a)];
                assert_eq!(phases, want, "{state:?}, generation {generation}, attempt {ordinal}");
            }
        }
        let earlier = signs(State::Destroyed, 5, 9);
        assert!(!kept.is_over(&earlier), "a region that lags behind ends no try");
    }
}
