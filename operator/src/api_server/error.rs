//! Faults of one object, and which of them a resource reports.

use crate::conditions::{Check, Trouble};

/// An object could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    /// A foreign object has that name.
    #[error(
        "{kind} {name} exists and does not belong to this resource (see its labels and owner): rename the resource, or remove that object if nobody needs it. Without its PIN another vault would lose its keys"
    )]
    Collision {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
    },
    /// It belongs to a deleted resource of the same name. The garbage collector removes it.
    #[error(
        "{kind} {name} belongs to a deleted resource of the same name: the operator waits until the garbage collector has removed it"
    )]
    Leaving {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
    },
    /// A quota is used up.
    #[error("{kind} {name}: {why}; raise the ResourceQuota, or ask for less")]
    Quota {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
        /// The server's message.
        why: String,
    },
    /// The server refuses the object: an admission rule, or a field that can't change.
    #[error("{kind} {name} is refused: {why}")]
    Refused {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
        /// The server's message.
        why: String,
    },
    /// The operator's role lacks something.
    #[error("{kind} {name}: {why}; give the operator the roles of its chart")]
    Forbidden {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
        /// The server's message.
        why: String,
    },
    /// Objects of this kind can't be watched now. Their known state may be stale, so the pass does nothing.
    #[error("objects of kind {kind} can't be watched: {why}{}", if *forbidden { "; give the operator the roles of its chart" } else { "" })]
    Unseen {
        /// Kind.
        kind: &'static str,
        /// The watch's error.
        why: String,
        /// The operator's role lacks it.
        forbidden: bool,
    },
    /// The server can't be reached or fails. The pass is tried again.
    #[error("{kind} {name}")]
    Server {
        /// Kind.
        kind: &'static str,
        /// Name.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

impl ObjectError {
    pub(crate) fn of(kind: &'static str, name: &str, error: kube::Error) -> Self {
        let name = name.to_owned();
        let kube::Error::Api(answer) = &error else {
            return Self::Server { kind, name, source: error.into() };
        };
        let why = answer.message.clone();
        match answer.code {
            403 if why.contains("exceeded quota") => Self::Quota { kind, name, why },
            // Only the authorizer's message has the verb. Without it an admission rule refused the object.
            403 if why.contains("cannot ") => Self::Forbidden { kind, name, why },
            400 | 403 | 413 | 422 => Self::Refused { kind, name, why },
            _ => Self::Server { kind, name, source: error.into() },
        }
    }

    /// A fault of one object is a trouble of the resource. An unreachable server is an error of the pass.
    pub(crate) fn trouble(self) -> Result<Trouble, Self> {
        let target = |kind: &str, name: &str| format!("{kind} {name}");
        Ok(match &self {
            Self::Collision { kind, name } => {
                Trouble::new(Check::NameCollision, target(kind, name), self.to_string())
            }
            Self::Quota { kind, name, .. } => {
                Trouble::new(Check::QuotaExceeded, target(kind, name), self.to_string())
            }
            Self::Refused { kind, name, .. } => {
                Trouble::new(Check::ObjectRefused, target(kind, name), self.to_string())
            }
            Self::Forbidden { kind, name, .. } => {
                Trouble::new(Check::RoleMissing, target(kind, name), self.to_string())
            }
            Self::Leaving { kind, name } => {
                Trouble::new(Check::BeingCollected, target(kind, name), self.to_string())
            }
            Self::Unseen { kind, forbidden: true, .. } => {
                Trouble::new(Check::RoleMissing, *kind, self.to_string())
            }
            Self::Unseen { .. } | Self::Server { .. } => return Err(self),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(kube::core::Status {
            code,
            message: message.into(),
            ..kube::core::Status::default()
        }))
    }

    #[test]
    fn a_server_message_becomes_an_error_that_a_person_can_act_on() {
        let of = |code, message| ObjectError::of("Service", "demo-chatd", api(code, message));
        assert!(matches!(of(403, "exceeded quota: q, requested: pods=1"), ObjectError::Quota { .. }));
        assert!(matches!(
            of(403, "User \"x\" cannot patch resource \"services\""),
            ObjectError::Forbidden { .. }
        ));
        assert!(matches!(of(403, "violates PodSecurity \"restricted:latest\""), ObjectError::Refused { .. }));
        assert!(matches!(
            of(422, "spec: Forbidden: updates to statefulset spec"),
            ObjectError::Refused { .. }
        ));
        assert!(matches!(of(500, "etcd"), ObjectError::Server { .. }));
    }
}
