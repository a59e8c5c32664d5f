//! Why the credentials of a fleet could not be provided.

use crate::api_server::ObjectError;
use crate::conditions::Trouble;
use crate::random::NoRandomness;

/// A PIN or a Secret could not be read or made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl CredentialsError {
    /// A fault of one object is a trouble of the resource. Without randomness the pass fails and is tried again.
    pub(super) fn trouble(self) -> Result<Trouble, Self> {
        match self {
            Self::Object(e) => Ok(e.trouble()?),
            Self::Randomness(_) => Err(self),
        }
    }
}
