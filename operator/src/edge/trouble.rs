//! A fault of one object, as something that is waited for.

use crate::apply::ApplyError;
use crate::conditions::{Check, Trouble};

/// A fault of one object is a trouble of the resource; a server that is away is an error of the pass.
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
