//! The types of the conditions of a resource.

use strum::{IntoStaticStr, VariantArray};

/// The type of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr, VariantArray)]
pub enum Condition {
    /// The spec is valid.
    Accepted,
    /// People can register and recover.
    Ready,
    /// The operator is changing something or waits for something.
    Reconciling,
    /// The operator waits for something that does not come by itself.
    Stalled,
    /// The fleet is initialised.
    FleetInitialized,
    /// A majority of regions is in sync.
    QuorumHealthy,
    /// Every token answers.
    HsmReady,
    /// Every certificate is valid for long enough.
    CertificatesValid,
    /// Every volume claim is bound.
    StorageReady,
    /// ChatD's database answers.
    PostgresReady,
    /// A ChatD pod serves.
    ChatdReady,
    /// The resource uses nothing that is for tests only.
    ProductionReady,
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
pub enum Status {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// The operator can't tell.
    Unknown,
}

impl Status {
    /// As Kubernetes writes it.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Condition {
    /// As in `status.conditions[].type`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What True means.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Accepted => "The spec is valid.",
            Self::Ready => "People can register and recover.",
            Self::Reconciling => "The operator is changing something or waits for something.",
            Self::Stalled => {
                "The operator waits for something that does not come by itself, or has waited for longer than ten minutes."
            }
            Self::FleetInitialized => "The fleet is initialised: every shard knows it.",
            Self::QuorumHealthy => "A majority of regions is up and verified.",
            Self::HsmReady => "Every region's token answers.",
            Self::CertificatesValid => "Every link of every certificate chain is valid for long enough.",
            Self::StorageReady => "Every volume claim has its volume.",
            Self::PostgresReady => {
                "ChatD's database answers. Without it people can still register and recover, but ChatD's answers about keys are stale. Absent with `postgres.none`."
            }
            Self::ChatdReady => "A ChatD pod serves.",
            Self::ProductionReady => {
                "The resource uses nothing that is for tests only. For information: nothing depends on it."
            }
        }
    }

    /// Where a condition takes the name of a check as its reason: its status, and which checks.
    pub const fn borrowed(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Ready => Some((
                "False, Unknown",
                "The check that keeps the operator from reading the fleet's objects.",
            )),
            Self::Reconciling => {
                Some(("False", "The check that keeps the operator from reading the fleet's objects."))
            }
            Self::Stalled => {
                Some(("True", "The first check of the table below that stalls, or the reason of `Accepted`."))
            }
            Self::HsmReady => Some((
                "False",
                "`PinSecret`, `ContainerEnds`, `ContainerNotMade`, `ImageUnavailable` or `MemberChanged`.",
            )),
            Self::StorageReady => Some(("False", "`VolumeGoing`, `VolumePending` or `FleetLost`.")),
            _ => None,
        }
    }
}
