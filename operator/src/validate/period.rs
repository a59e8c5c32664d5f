//! Durations.

use std::time::Duration;

use super::refusal::Refusals;
use crate::conditions::Reason;
use crate::resource::Period;

pub(super) fn milliseconds(period: &Period, field: &str, refusals: &mut Refusals) -> Option<u64> {
    // At most a century, so that sums and dates fit their types.
    period.milliseconds().filter(|ms| *ms <= 100 * 365 * 86_400_000).or_else(|| {
        let message = format!("{:?} is not a duration: write it as 90s, 10m or 168h", period.0);
        refusals.refuse(field, Reason::InvalidPeriod, message)
    })
}

pub(super) fn duration(period: &Period, field: &str, refusals: &mut Refusals) -> Option<Duration> {
    milliseconds(period, field, refusals).map(Duration::from_millis)
}
