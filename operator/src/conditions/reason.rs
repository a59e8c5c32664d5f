//! The reasons of conditions. A reason belongs to one condition and gives it one status, so that no message can contradict its status.

use strum::VariantArray;

use super::{Condition, Status};

/// Why a condition has its status. A condition can also take the name of a [`super::Check`] as its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
#[allow(missing_docs)] // meaning() explains each of them
pub enum Reason {
    Accepted,
    InvalidName,
    NameCollision,
    InvalidQuantity,
    InvalidPeriod,
    OutOfRange,
    ExactlyOne,
    Conflict,
    InvalidValue,
    SecretInPlainSight,
    NotSupported,
    Unreadable,
    Serving,
    Bootstrapping,
    AwaitingSignature,
    NoMajority,
    ChatdNotReady,
    IssuerKeysAway,
    FleetLost,
    Contradiction,
    Refused,
    ReadyUnreadable,
    Settled,
    ReconcilingBootstrapping,
    Working,
    Waiting,
    Paused,
    ReconcilingRefused,
    Moving,
    StalledUnreadable,
    FleetMade,
    FleetBootstrapping,
    FleetAwaitingSignature,
    FleetGone,
    FleetContradiction,
    AllInSync,
    Degraded,
    QuorumNoMajority,
    QuorumNotMade,
    AllUp,
    TokenDown,
    VaultSilent,
    Valid,
    WebAuthorityChanges,
    Missing,
    Expiring,
    CertificatesNotMade,
    Bound,
    DatabaseReady,
    DatabaseUnavailable,
    DatabaseNotAsked,
    ChatdServing,
    ChatdStarting,
    ChatdNotMade,
    NoReplicas,
    Good,
    SoftwareToken,
    RootKeyInFleet,
    SingleRegion,
    RegionsShareNodes,
}

/// A row of the reference: the condition, its status, the reason's name, and what it means.
type Row = (Condition, Status, &'static str, &'static str);

impl Reason {
    const fn row(self) -> Row {
        use Condition as C;
        use Status::{False, True, Unknown};
        match self {
            Self::Accepted => (C::Accepted, True, "Accepted", "The operator carries the spec out."),
            Self::InvalidName => (
                C::Accepted,
                False,
                "InvalidName",
                "A name has characters or a length that Kubernetes or DNS refuses.",
            ),
            Self::NameCollision => {
                (C::Accepted, False, "NameCollision", "Two objects of the fleet would have one name.")
            }
            Self::InvalidQuantity => {
                (C::Accepted, False, "InvalidQuantity", "A value is no Kubernetes quantity, or too small.")
            }
            Self::InvalidPeriod => (C::Accepted, False, "InvalidPeriod", "A value is no duration."),
            Self::OutOfRange => (C::Accepted, False, "OutOfRange", "A number is outside its range."),
            Self::ExactlyOne => {
                (C::Accepted, False, "ExactlyOne", "None or several of a set of alternatives are set.")
            }
            Self::Conflict => (C::Accepted, False, "Conflict", "Two fields contradict each other."),
            Self::InvalidValue => {
                (C::Accepted, False, "InvalidValue", "A URL, path, image or other value is malformed.")
            }
            Self::SecretInPlainSight => (
                C::Accepted,
                False,
                "SecretInPlainSight",
                "A field holds a secret that everybody who reads the resource could see.",
            ),
            Self::NotSupported => (C::Accepted, False, "NotSupported", "This release can't do it yet."),
            Self::Unreadable => {
                (C::Accepted, False, "Unreadable", "This release of the operator can't parse the resource.")
            }
            Self::Serving => (C::Ready, True, "Serving", "People can register and recover."),
            Self::Bootstrapping => (C::Ready, False, "Bootstrapping", "The operator is making the fleet."),
            Self::AwaitingSignature => (C::Ready, False, "AwaitingSignature", "People must sign first."),
            Self::NoMajority => {
                (C::Ready, False, "NoMajority", "Fewer than a majority of regions are in sync.")
            }
            Self::ChatdNotReady => (C::Ready, False, "ChatdNotReady", "No ChatD pod is ready."),
            Self::IssuerKeysAway => (
                C::Ready,
                False,
                "IssuerKeysAway",
                "No vault has issuer's keys younger than a day, so every token is refused.",
            ),
            Self::FleetLost => {
                (C::Ready, False, "FleetLost", "The fleet was made, and no vault knows it any more.")
            }
            Self::Contradiction => (
                C::Ready,
                False,
                "Contradiction",
                "The objects in the cluster contradict each other. The operator changes nothing.",
            ),
            Self::Refused => {
                (C::Ready, False, "Refused", "The spec is refused. The operator leaves the fleet as it is.")
            }
            Self::ReadyUnreadable => {
                (C::Ready, Unknown, "Unreadable", "This release of the operator can't parse the resource.")
            }
            Self::Settled => (C::Reconciling, False, "Settled", "Everything is as the spec asks."),
            Self::ReconcilingBootstrapping => {
                (C::Reconciling, True, "Bootstrapping", "The operator is making the fleet.")
            }
            Self::Working => (C::Reconciling, True, "Working", "The operator is making objects."),
            Self::Waiting => (C::Reconciling, True, "Waiting", "Read `status.waits`."),
            Self::Paused => {
                (C::Reconciling, False, "Paused", "`spec.paused` is true, so the operator changes nothing.")
            }
            Self::ReconcilingRefused => {
                (C::Reconciling, False, "Refused", "The operator changes nothing until the spec is valid.")
            }
            Self::Moving => (C::Stalled, False, "Moving", "Every wait can still end by itself."),
            Self::StalledUnreadable => {
                (C::Stalled, True, "Unreadable", "This release of the operator can't parse the resource.")
            }
            Self::FleetMade => (C::FleetInitialized, True, "Made", "Every shard knows the fleet."),
            Self::FleetBootstrapping => {
                (C::FleetInitialized, False, "Bootstrapping", "The operator is making the fleet.")
            }
            Self::FleetAwaitingSignature => {
                (C::FleetInitialized, False, "AwaitingSignature", "People must sign first.")
            }
            Self::FleetGone => {
                (C::FleetInitialized, False, "FleetLost", "No vault knows the fleet that the journal names.")
            }
            Self::FleetContradiction => (
                C::FleetInitialized,
                Unknown,
                "Contradiction",
                "The objects in the cluster contradict each other.",
            ),
            Self::AllInSync => (C::QuorumHealthy, True, "AllInSync", "Every region is in sync."),
            Self::Degraded => (
                C::QuorumHealthy,
                True,
                "Degraded",
                "Some regions are not in sync. `status.quorum.tolerates` is how many more the fleet can lose.",
            ),
            Self::QuorumNoMajority => (C::QuorumHealthy, False, "NoMajority", "Recoveries fail."),
            Self::QuorumNotMade => (C::QuorumHealthy, Unknown, "NotMade", "There is no fleet yet."),
            Self::AllUp => (C::HsmReady, True, "AllUp", "Every region's token answers."),
            Self::TokenDown => (
                C::HsmReady,
                False,
                "TokenDown",
                "A region's token does not answer. The message has its error.",
            ),
            Self::VaultSilent => (C::HsmReady, Unknown, "VaultSilent", "A region's vault does not answer."),
            Self::Valid => (C::CertificatesValid, True, "Valid", "Every link is valid."),
            Self::WebAuthorityChanges => (
                C::CertificatesValid,
                True,
                "WebAuthorityChanges",
                "Every link is valid. Give clients the `ca.crt` of the Secret `<name>-chatd-web` before the time in the message: then the next web CA begins to sign, and clients that trust only the present one refuse ChatD.",
            ),
            Self::Missing => {
                (C::CertificatesValid, False, "Missing", "A certificate is missing or unusable.")
            }
            Self::Expiring => (
                C::CertificatesValid,
                False,
                "Expiring",
                "A certificate ends within three days and was not renewed.",
            ),
            Self::CertificatesNotMade => {
                (C::CertificatesValid, Unknown, "NotMade", "There are no certificates yet.")
            }
            Self::Bound => (C::StorageReady, True, "Bound", "Every volume claim has its volume."),
            Self::DatabaseReady => (C::PostgresReady, True, "Ready", "The database answers."),
            Self::DatabaseUnavailable => {
                (C::PostgresReady, False, "Unavailable", "The database does not answer.")
            }
            Self::DatabaseNotAsked => (
                C::PostgresReady,
                Unknown,
                "NotAsked",
                "No ChatD pod answers, so the state of the database is unknown.",
            ),
            Self::ChatdServing => (C::ChatdReady, True, "Serving", "A ChatD pod answers."),
            Self::ChatdStarting => (C::ChatdReady, False, "Starting", "No ChatD pod is ready."),
            Self::ChatdNotMade => {
                (C::ChatdReady, False, "NotMade", "The operator makes ChatD once the fleet is made.")
            }
            Self::NoReplicas => (C::ChatdReady, False, "NoReplicas", "`chatd.replicas` is 0."),
            Self::Good => (C::ProductionReady, True, "Good", "Nothing is for tests only."),
            Self::SoftwareToken => {
                (C::ProductionReady, False, "SoftwareToken", "SoftHSM keeps keys in files.")
            }
            Self::RootKeyInFleet => (
                C::ProductionReady,
                False,
                "RootKeyInFleet",
                "An attacker who controls the operator can have documents signed.",
            ),
            Self::SingleRegion => (
                C::ProductionReady,
                False,
                "SingleRegion",
                "The admins of the one region can roll back the count of tries, and its loss loses every key.",
            ),
            Self::RegionsShareNodes => {
                (C::ProductionReady, False, "RegionsShareNodes", "No region names its nodes.")
            }
        }
    }

    /// The condition that it is a reason of.
    pub const fn condition(self) -> Condition {
        self.row().0
    }

    /// The status that it gives the condition.
    pub const fn status(self) -> Status {
        self.row().1
    }

    /// As in `status.conditions[].reason`.
    pub const fn name(self) -> &'static str {
        self.row().2
    }

    /// What it means, for docs/operator-conditions.md.
    pub const fn meaning(self) -> &'static str {
        self.row().3
    }
}
