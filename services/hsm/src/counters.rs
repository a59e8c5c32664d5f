//! Counts of the token's operations by result. The vault exports them as metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// An operation on a token.
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
    /// The destruction of an epoch key.
    EpochDestroy,
    /// The list of epoch keys.
    EpochList,
    /// The anchor of an orderly stop is stored.
    AnchorPut,
    /// The anchor of an orderly stop is read and destroyed.
    AnchorTake,
    /// The capability probe.
    Probe,
    /// A check that the token still works.
    Check,
    /// A new session.
    Connect,
}

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(usize)]
pub enum Outcome {
    /// It succeeded.
    Ok,
    /// The token or this crate refused.
    Refused,
    /// The token is gone.
    Gone,
    /// The call did not return in time.
    Hung,
    /// The queue was full.
    Busy,
}

impl Op {
    /// Every operation, in the order of the numbers.
    pub const ALL: [Self; 13] = [
        Self::SignIdentity,
        Self::MaskPad,
        Self::EpochMac,
        Self::ReadIdentity,
        Self::Provision,
        Self::EpochCreate,
        Self::EpochDestroy,
        Self::EpochList,
        Self::AnchorPut,
        Self::AnchorTake,
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
            Self::AnchorPut => "anchor_put",
            Self::AnchorTake => "anchor_take",
            Self::Probe => "probe",
            Self::Check => "check",
            Self::Connect => "connect",
        }
    }
}

impl Outcome {
    /// Every outcome, in the order of the numbers.
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

/// The counts of one operation with one outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpCount {
    /// The operation.
    pub op: Op,
    /// How it ended.
    pub outcome: Outcome,
    /// How often, since the handle was made.
    pub count: u64,
    /// The sum of the times from submission to the end.
    pub took: Duration,
}

#[derive(Default)]
struct Cell {
    count: AtomicU64,
    nanos: AtomicU64,
}

/// The counters of one token handle.
#[derive(Default)]
pub(crate) struct Counters([[Cell; 5]; 13]);

impl Counters {
    pub(crate) fn add(&self, op: Op, outcome: Outcome, took: Duration) {
        if let Some(cell) = self.0.get(op as usize).and_then(|row| row.get(outcome as usize)) {
            cell.count.fetch_add(1, Ordering::Relaxed);
            cell.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// The counts of every operation and outcome that occurred.
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
