//! Why a pass could not be completed. The controller tries it again after five seconds.

use crate::api_server::ObjectError;
use crate::credentials::CredentialsError;
use crate::random::NoRandomness;
use crate::report::StatusError;

/// A pass that could not be completed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    #[error(transparent)]
    Apply(#[from] ObjectError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Status(#[from] StatusError),
}
