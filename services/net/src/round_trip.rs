//! The round trip to a peer, from measurements. Pure.

use std::time::Duration;

/// The smoothed round trip to one peer, as RFC 6298 (section 2) smooths it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// SRTT
    pub smoothed: Duration,
    /// RTTVAR
    variation: Duration,
}

impl RoundTrip {
    /// The first measurement.
    pub fn first(measured: Duration) -> Self {
        Self { smoothed: measured, variation: measured / 2 }
    }

    /// With a further measurement.
    #[must_use]
    pub fn and(self, measured: Duration) -> Self {
        let variation = (self.variation * 3 + self.smoothed.abs_diff(measured)) / 4;
        Self { smoothed: (self.smoothed * 7 + measured) / 8, variation }
    }

    /// Longer than almost every round trip.
    pub fn longest(self) -> Duration {
        self.smoothed + self.variation * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn steady(round_trip: Duration) -> RoundTrip {
        (0..100).fold(RoundTrip::first(round_trip), |r, _| r.and(round_trip))
    }

    /// RFC 6298, 2.2 and 2.3.
    #[test]
    fn a_round_trip_is_smoothed_as_in_tcp() {
        let first = RoundTrip::first(ms(100));
        assert_eq!((first.smoothed, first.longest()), (ms(100), ms(300)));
        let second = first.and(ms(180));
        assert_eq!(second.smoothed, ms(110));
        assert_eq!(second.longest(), ms(110) + Duration::from_micros(57_500) * 4);
        assert_eq!(steady(ms(250)).smoothed, ms(250));
        assert!(steady(ms(250)).longest() < ms(251));
    }

    /// One late answer counts at once. So a network that becomes slower starts no elections.
    #[test]
    fn a_network_that_becomes_slower_is_noticed_at_the_first_answer() {
        assert!(steady(ms(20)).and(ms(400)).longest() > ms(400));
    }
}
