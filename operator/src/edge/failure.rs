//! Why the operator ends.

use std::time::Duration;

use crate::lease::LeaseLost;
use crate::plan::EmbeddedError;

/// Deadline of running passes at a shutdown.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// The operator can't start, or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No usable configuration for the API server.
    #[error("no way to the API server")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The metrics could not be registered.
    #[error("metrics")]
    Metrics(#[from] prometheus::Error),
    /// The built-in rules or dashboard could not be parsed.
    #[error("what the operator carries with it")]
    Embedded(#[from] EmbeddedError),
    /// The health port could not be opened.
    #[error("health port {0}")]
    Health(std::net::SocketAddr, #[source] std::io::Error),
    /// The lease was lost.
    #[error(transparent)]
    Lease(#[from] LeaseLost),
    /// A task ended that must run as long as the operator.
    #[error("the task `{0}` has ended")]
    Ended(&'static str),
    /// A pass did not end at a shutdown.
    #[error("a pass did not end within {} s of the shutdown", GRACE.as_secs())]
    Hangs,
}
