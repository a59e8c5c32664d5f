//! Decides whether the operator may write to an object that it read by name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::error::ObjectError;
use crate::labels::ours;
use crate::validate::Fleet;

/// To which resource an object belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// This resource.
    Ours,
    /// A deleted resource of the same name. The garbage collector will remove the object.
    Leaving,
    /// Anything else.
    Foreign,
}

impl Ownership {
    pub(crate) fn of(meta: &ObjectMeta, fleet: &Fleet) -> Self {
        let owner = meta.owner_references.iter().flatten().find(|o| o.controller == Some(true));
        match owner {
            _ if !ours(meta, fleet.name.as_str()) => Self::Foreign,
            Some(o) if o.uid != fleet.uid && o.kind == "BackupKeyVault" => Self::Leaving,
            Some(o) if o.uid != fleet.uid => Self::Foreign,
            _ => Self::Ours,
        }
    }

    /// An error unless the object is ours.
    pub(crate) fn require(self, kind: &'static str, name: &str) -> Result<(), ObjectError> {
        match self {
            Self::Ours => Ok(()),
            Self::Leaving => Err(ObjectError::Leaving { kind, name: name.to_owned() }),
            Self::Foreign => Err(ObjectError::Collision { kind, name: name.to_owned() }),
        }
    }
}
