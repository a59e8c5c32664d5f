//! Why a replica serves nothing until a person has looked at it. The reason is on the disk: a restart, which an orchestrator does by itself, must not forget it.

use std::fmt;

use bkv_core::join::LogPosition;
use minicbor::{Decode, Encode};

/// Why and how a replica stopped.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Stop {
    /// Halted or quarantined.
    #[n(0)]
    pub kind: StopKind,
    /// Random. The root names it to lift this stop and no later one.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// What happened.
    #[n(2)]
    pub why: String,
    /// Quarantined: the position that this node has signed for.
    #[n(3)]
    pub acknowledged: LogPosition,
}

/// How a replica stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum StopKind {
    /// t other regions have signed another state at the same place of the same history.
    #[n(0)]
    Halted,
    /// Its disk is older than what it has acknowledged.
    #[n(1)]
    Quarantined,
}

impl Stop {
    /// A stop with a new id.
    pub(crate) fn new(kind: StopKind, why: String, acknowledged: LogPosition) -> Self {
        Self { kind, id: rand::random(), why, acknowledged }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (stop ", self.why)?;
        self.id.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str(")")
    }
}
