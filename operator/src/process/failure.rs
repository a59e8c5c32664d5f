//! Why the operator ends.

use std::time::Duration;

use super::lease::LeaseLost;
use crate::plan::EmbeddedError;

/// Deadline of running passes at a shutdown.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// The operator can't start, or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No usable configuration for the API server.
    #[error("the configuration for the API server is unusable")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The metrics could not be registered.
    #[error("the metrics can't be registered")]
    Metrics(#[from] prometheus::Error),
    /// The built-in rules or dashboard could not be parsed.
    #[error("the built-in alerts or dashboard can't be parsed")]
    Embedded(#[from] EmbeddedError),
    /// The health port could not be opened.
    #[error("the health port can't listen on {0}")]
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
