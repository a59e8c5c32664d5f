//! What works but is not for production. The condition `ProductionReady` reports it, and validation does not refuse it.

use crate::conditions::Reason;

/// Why a fleet is not for production.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// A software token keeps a region's keys.
    SoftwareToken,
    /// The fleet keeps its own root key.
    RootKeyInFleet,
    /// There is one region.
    SingleRegion,
    /// Several regions, and nothing that keeps them on different nodes.
    RegionsShareNodes,
}

impl Note {
    /// As the condition's reason.
    pub const fn reason(self) -> Reason {
        match self {
            Self::SoftwareToken => Reason::SoftwareToken,
            Self::RootKeyInFleet => Reason::RootKeyInFleet,
            Self::SingleRegion => Reason::SingleRegion,
            Self::RegionsShareNodes => Reason::RegionsShareNodes,
        }
    }

    /// The message of the condition, with the remedy.
    pub const fn message(self) -> &'static str {
        match self {
            Self::SoftwareToken => {
                "use pkcs11 with a hardware token: hsm.softhsm keeps keys in files, so an attacker who has a vault's volume and PIN has its keys"
            }
            Self::RootKeyInFleet => {
                "make a fleet with an offline root: with fleet.root.inFleet an attacker who controls the operator can have documents signed"
            }
            Self::SingleRegion => {
                "use 3, 5 or 7 regions: the admins of a single region can roll back the count of tries, and its loss loses every key"
            }
            Self::RegionsShareNodes => {
                "give each region a nodeSelector: without one all vaults may share a node, and be lost with it"
            }
        }
    }
}
