//! Timing that follows the network: how long a call or an election may take, from the round trips that were measured. Pure: no clock and no I/O.
//!
//! Each limit is a floor, which is right inside one data centre, plus as many round trips as the wait contains. Vaults may measure different values. That is safe: a
//! leader sends heartbeats at a pace that does not depend on the distance, and a follower that has lost patience asks the others before it starts an election.

use std::time::Duration;

use bkv_config::vault::Timings;
use bkv_net::round_trip::RoundTrip;

/// Limits for the present network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timing {
    /// Longer than almost every round trip to a peer.
    round_trip: Duration,
}

impl Timing {
    /// From the round trips to all peers that were measured. One peer can't raise it above the ceiling.
    pub(crate) fn of(round_trips: impl IntoIterator<Item = RoundTrip>, ceiling: Duration) -> Self {
        let longest = round_trips.into_iter().map(RoundTrip::longest).max();
        Self { round_trip: longest.unwrap_or_default().min(ceiling) }
    }

    /// The limit of a wait that contains so many round trips and needs `floor` beside them.
    pub(crate) fn limit(self, floor: Duration, round_trips: u32) -> Duration {
        floor + self.round_trip * round_trips
    }

    /// A voter that has heard from its leader within this time helps nobody else to be elected. Two voters hear from one leader at moments that differ by half of a
    /// round trip at most.
    pub(crate) fn lease(self, raft: &Timings) -> Duration {
        Duration::from_millis(raft.election_max_ms) + self.round_trip / 2
    }

    /// How long a follower waits for its leader before it asks the others about an election. A packet that TCP has to send again is late by a round trip and the kernel's 200 ms.
    pub(crate) fn patience(self, raft: &Timings, draw: f64) -> Duration {
        self.lease(raft) + election(raft, draw)
    }

    /// How long a voter that has voted waits for the elected leader, or a candidate for its votes: the answer, then the leader's first heartbeat.
    pub(crate) fn outcome(self, raft: &Timings, draw: f64) -> Duration {
        election(raft, draw) + self.round_trip * 3 / 2
    }
}

/// A random time between the two election timeouts. `draw` is from 0 to 1.
fn election(raft: &Timings, draw: f64) -> Duration {
    let (min, max) = (raft.election_min_ms, raft.election_max_ms);
    Duration::from_millis(min) + Duration::from_millis(max.saturating_sub(min)).mul_f64(draw.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CEILING: Duration = Duration::from_millis(400);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn steady(round_trip: Duration) -> RoundTrip {
        (0..100).fold(RoundTrip::first(round_trip), |r, _| r.and(round_trip))
    }

    #[test]
    fn the_largest_round_trip_counts_up_to_the_ceiling() {
        let all = [steady(ms(1)), steady(ms(250)), steady(ms(90))];
        let timing = Timing::of(all, CEILING);
        assert!(timing.limit(ms(2000), 2) >= ms(2500) && timing.limit(ms(2000), 2) < ms(2502));
        let slow = Timing::of([steady(ms(9_000))], CEILING);
        assert_eq!(slow.limit(ms(2000), 2), ms(2800));
        assert_eq!(Timing::of([], CEILING), Timing::default());
    }

    /// Inside one data centre the limits are the floors.
    #[test]
    fn without_distance_the_configured_timings_hold() {
        let (near, raft) = (Timing::default(), Timings::default());
        assert_eq!(near.limit(ms(2000), 9), ms(2000));
        assert_eq!(near.lease(&raft), ms(300));
        assert_eq!((near.patience(&raft, 0.0), near.patience(&raft, 1.0)), (ms(500), ms(600)));
        assert_eq!((near.outcome(&raft, 0.0), near.outcome(&raft, 1.0)), (ms(200), ms(300)));
    }

    /// A follower that loses its patience first finds the others' lease expired: they heard from the leader at most half a round trip later, and the question takes
    /// half a round trip.
    #[test]
    fn the_first_to_lose_patience_finds_the_leases_expired() {
        let raft = Timings::default();
        for round_trip in [0, 1, 20, 100, 250, 400] {
            let timing = Timing::of([steady(ms(round_trip))], CEILING);
            let silence = timing.patience(&raft, 0.0);
            // The half round trip by which they heard later, and that of the question, cancel out.
            assert!(silence > timing.lease(&raft), "{round_trip} ms");
            // A heartbeat that has to be sent again comes before the patience ends.
            let resent = ms(raft.heartbeat_ms) + ms(200) + ms(round_trip) / 2;
            assert!(silence > resent, "{round_trip} ms");
            assert!(timing.outcome(&raft, 0.0) > ms(round_trip * 3 / 2), "{round_trip} ms");
        }
    }

    /// Voters that differ: one believes in one data centre, the other in 400 ms. Heartbeats come every 100 ms, whatever the distance.
    #[test]
    fn the_shortest_patience_is_longer_than_the_pace_of_heartbeats() {
        let raft = Timings::default();
        assert!(Timing::default().patience(&raft, 0.0) >= 4 * ms(raft.heartbeat_ms));
    }
}
