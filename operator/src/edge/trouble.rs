//! Why a pass could not be completed. The controller tries it again after five seconds.

use crate::api_server::ObjectError;

/// A pass that could not be completed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PassError {
    #[error(transparent)]
    Apply(#[from] ObjectError),
    #[error("the status can't be written")]
    Status(#[source] kube::Error),
}
