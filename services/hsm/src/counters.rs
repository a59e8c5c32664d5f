//! Counts of the token's operations by result. The vault exports them as metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is asked of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(usize)]
pub enum Op {
    /// An ECDSA signature by `identity`.
    SignIdentity,
    /// An HMAC by `mask`.
    MaskPad,
    /// An HMAC by an epoch key.
    EpochMac,
    /// The public part of `identity`.
    ReadIdentity,
    /// The key ceremony.
    Provision,
    /// A new epoch key.
    EpochCreate,
    /// An epoch key's end.
    EpochDestroy,
    /// Which epoch keys there are.
    EpochList,
    /// The capability probe.
    Probe,
    /// Is the token still there?
    Check,
    /// A new session.
    Connect,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(usize)]
pub enum Outcome {
    /// Done.
    Ok,
    /// The token or this crate refused.
    Refused,
    /// The token is gone.
    Gone,
    /// No answer in time.
    Hung,
    /// Too many were waiting.
    Busy,
}

impl Op {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::SignIdentity,
        Self::MaskPad,
        Self::EpochMac,
        Self::ReadIdentity,
        Self::Provision,
        Self::EpochCreate,
        Self::EpochDestroy,
        Self::EpochList,
        Self::Probe,
        Self::Check,
        Self::Connect,
    ];

    /// The name in metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignIdentity => "sign_identity",
            Self::MaskPad => "mask_pad",
            Self::EpochMac => "epoch_mac",
            Self::ReadIdentity => "read_identity",
            Self::Provision => "provision",
            Self::EpochCreate => "epoch_create",
            Self::EpochDestroy => "epoch_destroy",
            Self::EpochList => "epoch_list",
            Self::Probe => "probe",
            Self::Check => "check",
            Self::Connect => "connect",
        }
    }
}

impl Outcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Refused, Self::Gone, Self::Hung, Self::Busy];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Gone => "gone",
            Self::Hung => "hung",
            Self::Busy => "busy",
        }
    }
}

/// One line of the snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpCount {
    /// What was asked.
    pub op: Op,
    /// How it ended.
    pub outcome: Outcome,
    /// How often, since the handle was made.
    pub count: u64,
    /// Time from asking to the end, summed.
    pub took: Duration,
}

#[derive(Default)]
struct Cell {
    count: AtomicU64,
    nanos: AtomicU64,
}

/// The counters of one token handle.
#[derive(Default)]
pub(crate) struct Counters([[Cell; 5]; 11]);

impl Counters {
    pub(crate) fn add(&self, op: Op, outcome: Outcome, took: Duration) {
        if let Some(cell) = self.0.get(op as usize).and_then(|row| row.get(outcome as usize)) {
            cell.count.fetch_add(1, Ordering::Relaxed);
            cell.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Every pair that occurred.
    pub(crate) fn snapshot(&self) -> Vec<OpCount> {
        let mut lines = Vec::new();
        for (op, row) in Op::ALL.iter().zip(&self.0) {
            for (outcome, cell) in Outcome::ALL.iter().zip(row) {
                let count = cell.count.load(Ordering::Relaxed);
                if count > 0 {
                    let took = Duration::from_nanos(cell.nanos.load(Ordering::Relaxed));
                    lines.push(OpCount { op: *op, outcome: *outcome, count, took });
                }
            }
        }
        lines
    }
}
