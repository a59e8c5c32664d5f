//! An entry of the feed to ChatD.

use minicbor::{Decode, Encode};

use crate::account::{Cause, State};
use crate::id::{Generation, Route, Time};

/// An entry of the feed to ChatD's projection. It contains no account id, because only vaults may know account ids.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Event {
    /// The public route of the account.
    #[n(0)]
    pub route: Route,
    /// See [`EventKind`].
    #[n(1)]
    pub kind: EventKind,
    /// Entry time.
    #[n(2)]
    pub at: Time,
    /// After the event.
    #[n(3)]
    pub state: State,
    /// After the event.
    #[n(4)]
    pub generation: Generation,
    /// After the event.
    #[n(5)]
    pub tries_left: u32,
    /// After the event.
    #[n(6)]
    pub next_allowed: Time,
    /// After the event: the entry time at which the live record was confirmed, if there is one.
    #[n(7)]
    pub since: Option<Time>,
}

/// The change that an event reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum EventKind {
    /// A registration was confirmed.
    #[n(0)]
    Registered,
    /// An attempt was charged.
    #[n(1)]
    Attempt,
    /// An attempt ended without success (given up, superseded, expired).
    #[n(2)]
    Failed,
    /// The password was proved.
    #[n(3)]
    Recovered,
    /// The key is gone.
    #[n(4)]
    Ended(#[n(0)] Cause),
    /// The owner named a backup. Which device made it stays between the owner and the vaults.
    #[n(5)]
    Named,
    /// A stored registration expired or was superseded before it was confirmed.
    #[n(6)]
    Dropped,
}
