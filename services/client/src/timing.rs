//! Deadlines and pauses of a client.

use std::time::Duration;

/// Deadlines and pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// For a whole operation, repetitions included.
    pub deadline: Duration,
    /// For one answer. After it the client repeats the request over a new stream.
    pub reply: Duration,
    /// Before the first repetition. Doubles, with jitter.
    pub first_pause: Duration,
    /// The most between two repetitions.
    pub longest_pause: Duration,
    /// For the last regions' acknowledgements of a registration, once t are there.
    pub acknowledgements: Duration,
    /// For the last regions to sign that a change is done, once t have.
    pub followers: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            reply: Duration::from_secs(4),
            first_pause: Duration::from_millis(30),
            longest_pause: Duration::from_secs(1),
            acknowledgements: Duration::from_millis(500),
            followers: Duration::from_secs(3),
        }
    }
}
