//! Faults: those of one object, which its resource reports, and those of a whole pass.

use crate::apply::ApplyError;
use crate::conditions::{Check, Trouble};

/// A pass that could not be completed. The controller tries it again after five seconds.
#[derive(Debug, thiserror::Error)]
pub(super) enum PassError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("the status can't be written")]
    Status(#[source] kube::Error),
}

/// A fault of one object is a trouble of the resource. An unreachable server is an error of the pass.
pub(super) fn trouble(e: ApplyError) -> Result<Trouble, ApplyError> {
    let target = |kind: &str, name: &str| format!("{kind} {name}");
    Ok(match &e {
        ApplyError::Collision { kind, name } => {
            Trouble::new(Check::NameCollision, target(kind, name), e.to_string())
        }
        ApplyError::Quota { kind, name, .. } => {
            Trouble::new(Check::QuotaExceeded, target(kind, name), e.to_string())
        }
        ApplyError::Refused { kind, name, .. } => {
            Trouble::new(Check::ObjectRefused, target(kind, name), e.to_string())
        }
        ApplyError::Forbidden { kind, name, .. } => {
            Trouble::new(Check::RoleMissing, target(kind, name), e.to_string())
        }
        ApplyError::Leaving { kind, name } => {
            Trouble::new(Check::BeingCollected, target(kind, name), e.to_string())
        }
        ApplyError::Unseen { kind, forbidden: true, .. } => {
            Trouble::new(Check::RoleMissing, *kind, e.to_string())
        }
        ApplyError::Unseen { .. } | ApplyError::Server { .. } => return Err(e),
    })
}
