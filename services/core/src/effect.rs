//! The work that an applied command leaves for the vault, beside the answer.

use crate::event::Event;
use crate::id::{AccountId, RegId, Time};
use crate::outcome::{Outcome, Refusal};
use crate::record::SealedShare;
use crate::secret::Secret32;

/// The result of one command.
#[derive(Clone, PartialEq, Debug)]
pub struct Applied {
    /// For the proposer.
    pub outcome: Outcome,
    /// The vault carries these out in the transaction of the state.
    pub effects: Vec<Effect>,
}

impl Applied {
    /// The command changed nothing.
    pub(crate) fn refused(why: Refusal) -> Self {
        Self { outcome: Outcome::Refused(why), effects: Vec::new() }
    }

    /// The same command was applied before.
    pub(crate) fn again() -> Self {
        Self { outcome: Outcome::Done, effects: Vec::new() }
    }

    pub(crate) fn done(effects: Vec<Effect>) -> Self {
        Self { outcome: Outcome::Done, effects }
    }
}

/// Work for the vault. It carries the effects out in order, in the same disk transaction as the state.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Store z masked. Open the own share, check it against the record and store it masked. Store the other shares sealed.
    KeepSecrets {
        /// The account.
        account: AccountId,
        /// The registration.
        reg_id: RegId,
        /// The OPAQUE server secret, to be masked.
        z: Secret32,
        /// All shares of the registration.
        shares: Vec<SealedShare>,
    },
    /// Erase z and all shares of a registration.
    EraseSecrets {
        /// The account.
        account: AccountId,
        /// The registration.
        reg_id: RegId,
    },
    /// An attempt was charged. Make its floor durable before evaluating.
    Floor {
        /// The account. Its pending attempt is the floor's content.
        account: AccountId,
    },
    /// The account's next deadline. The leader proposes Expire after it.
    Deadline {
        /// The account.
        account: AccountId,
        /// The earliest deadline; None if there is none any more.
        at: Option<Time>,
    },
    /// An event for ChatD.
    Event(Event),
}
