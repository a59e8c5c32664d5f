//! The network between the regions.

use super::period::milliseconds;
use super::refusal::Refusals;
use crate::conditions::Reason;
use crate::resource as spec;

/// The longest round trip between two regions, milliseconds.
pub(super) fn max_round_trip_ms(given: &spec::Network, refusals: &mut Refusals) -> Option<u64> {
    let field = "spec.network.maxRoundTrip";
    let ms = milliseconds(&given.max_round_trip, field, refusals)?;
    refusals.want((10..=1000).contains(&ms), field, Reason::OutOfRange, "must be from 10ms to 1s");
    Some(ms)
}
