//! What works but is not for production: said in the condition `ProductionReady`, refused never.

use crate::conditions::Reason;

/// Why a fleet is not for production.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// A region's keys lie in a software token.
    SoftwareToken,
    /// The root key lies in the fleet.
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

    /// In words, with the remedy.
    pub const fn message(self) -> &'static str {
        match self {
            Self::SoftwareToken => {
                "hsm.softhsm keeps keys in files: who has a vault's volume and its PIN has its keys; use pkcs11 with a hardware token"
            }
            Self::RootKeyInFleet => {
                "fleet.root.inFleet lets whoever runs the operator have documents signed; make a fleet with an offline root"
            }
            Self::SingleRegion => {
                "with one region its own people can turn back guesses, and its loss loses every key; use 3, 5 or 7"
            }
            Self::RegionsShareNodes => {
                "no region has a nodeSelector: all vaults may share a node, and be lost with it; name each region's nodes"
            }
        }
    }
}
