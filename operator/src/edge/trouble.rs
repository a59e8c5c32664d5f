//! A fault of one object, as something that is waited for.

use crate::apply::ApplyError;
use crate::status::Trouble;

/// A fault of one object is a trouble of the resource; a server that is away is an error of the pass.
pub(super) fn trouble(e: ApplyError) -> Result<Trouble, ApplyError> {
    let target = |kind: &str, name: &str| format!("{kind} {name}");
    Ok(match &e {
        ApplyError::Collision { kind, name } => {
            Trouble::hard("NameCollision", target(kind, name), e.to_string())
        }
        ApplyError::Quota { kind, name, .. } => {
            Trouble::hard("QuotaExceeded", target(kind, name), e.to_string())
        }
        ApplyError::Refused { kind, name, .. } => {
            Trouble::hard("ObjectRefused", target(kind, name), e.to_string())
        }
        ApplyError::Forbidden { kind, name, .. } => {
            Trouble::hard("RoleMissing", target(kind, name), e.to_string())
        }
        ApplyError::Leaving { kind, name } => {
            Trouble::soft("BeingCollected", target(kind, name), e.to_string())
        }
        ApplyError::Unseen { kind, forbidden: true, .. } => {
            Trouble::hard("RoleMissing", *kind, e.to_string())
        }
        ApplyError::Unseen { .. } | ApplyError::Server { .. } => return Err(e),
    })
}
