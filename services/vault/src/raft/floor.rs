//! The mark of an account's newest attempt on this region's own disk.

use bkv_core::id::{AttemptId, Element, Generation, Ordinal};
use minicbor::{Decode, Encode};

/// An attempt that this region may evaluate once: durable outside the log that a leader can truncate.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Floor {
    /// Of the attempt.
    #[n(0)]
    pub generation: Generation,
    /// Of the attempt.
    #[n(1)]
    pub ordinal: Ordinal,
    /// Its id.
    #[n(2)]
    pub attempt: AttemptId,
    /// B.
    #[n(3)]
    pub blinded: Element,
    /// Log index of its Begin.
    #[n(4)]
    pub index: u64,
    /// This vault's own clock when it applied the Begin.
    #[n(5)]
    pub applied_ms: u64,
    /// The same of the attempt before, if there was one in this generation.
    #[n(6)]
    pub previous_applied_ms: Option<u64>,
}
