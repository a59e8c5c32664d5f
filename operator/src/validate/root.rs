//! Who keeps the root key.

use super::references::{KeyOf, key_of, object};
use super::refusal::Refusals;
use crate::conditions::Reason;
use crate::resource as spec;

/// Who keeps the root key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCustody {
    /// The vaults.
    InFleet,
    /// People.
    Offline {
        /// ConfigMap with the public root.
        root: KeyOf,
        /// ConfigMap that signed documents are put into.
        signed: String,
    },
}

pub(super) fn root(given: &spec::RootCustody, refusals: &mut Refusals) -> Option<RootCustody> {
    match (&given.in_fleet, &given.offline) {
        (Some(_), None) => Some(RootCustody::InFleet),
        (None, Some(offline)) => {
            let at = |field| format!("spec.fleet.root.offline.{field}");
            let root = key_of(&offline.root_config_map_ref, "root.bin", &at("rootConfigMapRef"), refusals);
            let signed = offline.signed_config_map_ref.name.clone();
            object(&signed, &at("signedConfigMapRef.name"), refusals);
            Some(RootCustody::Offline { root, signed })
        }
        _ => refusals.refuse(
            "spec.fleet.root",
            Reason::ExactlyOne,
            "exactly one of inFleet, offline must be set",
        ),
    }
}
