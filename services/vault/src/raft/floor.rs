//! The floor: the record of an account's newest attempt on this region's own disk.

use bkv_core::id::{AttemptId, Element, Generation, Ordinal};
use minicbor::{Decode, Encode};

/// The only attempt of an account that this region may evaluate. Stored outside the log, because a leader can truncate the log.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Floor {
    /// Generation of the attempt.
    #[n(0)]
    pub generation: Generation,
    /// Ordinal of the attempt.
    #[n(1)]
    pub ordinal: Ordinal,
    /// Id of the attempt.
    #[n(2)]
    pub attempt: AttemptId,
    /// The blinded password element B.
    #[n(3)]
    pub blinded: Element,
    /// Log index of the attempt's Begin.
    #[n(4)]
    pub index: u64,
    /// This vault's own clock when it applied the Begin.
    #[n(5)]
    pub applied_ms: u64,
    /// `applied_ms` of the previous attempt of this generation, if there was one.
    #[n(6)]
    pub previous_applied_ms: Option<u64>,
}
