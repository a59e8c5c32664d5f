//! The attempt policy.

use super::period::milliseconds;
use super::refusal::Refusals;
use crate::conditions::Reason;
use crate::resource as spec;

/// The shortest that all waits together may be, milliseconds.
const WEEK: u64 = 7 * 86_400_000;

/// The attempt policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// Wrong passwords in a row before the key is destroyed.
    pub max: u32,
    /// Wrong passwords over the life of a registration before it locks.
    pub lifetime_failures: u32,
    /// Waits after each wrong password, milliseconds.
    pub waits: Vec<u64>,
}

pub(super) fn attempts(given: &spec::Attempts, refusals: &mut Refusals) -> Attempts {
    refusals.range("spec.attempts.max", given.max, (1, 20));
    refusals.range(
        "spec.attempts.lifetimeFailures",
        given.lifetime_failures,
        (given.max.clamp(1, 20), 10_000),
    );
    refusals.range("spec.attempts.waits", given.waits.len(), (1, 32));
    let waits = given.waits.iter().enumerate();
    let waits: Vec<u64> = waits
        .filter_map(|(i, wait)| milliseconds(wait, &format!("spec.attempts.waits[{i}]"), refusals))
        .collect();
    let all_read = waits.len() == given.waits.len();
    refusals.want(
        !all_read || given.allow_short_waits || waits.iter().sum::<u64>() >= WEEK,
        "spec.attempts.waits",
        Reason::OutOfRange,
        "must add up to at least 168h, or a stolen account token can destroy a key within minutes; set allowShortWaits: true to accept that",
    );
    Attempts { max: given.max, lifetime_failures: given.lifetime_failures, waits }
}
