//! What the spec asks for and is left out, because the cluster does not know the kind or the operator may not make it.

use super::world::World;
use crate::apply::Absence;
use crate::conditions::{Check, Trouble};
use crate::plan::needed;
use crate::validate::Fleet;

/// All else goes on meanwhile. The watches look again every minute.
pub(super) fn troubles(world: &World, fleet: &Fleet) -> Vec<Trouble> {
    let absent = needed(fleet).into_iter().filter_map(|n| Some((n, world.seen.absence(n.kind)?)));
    absent
        .map(|(n, absence)| {
            let version = n.kind.api_version();
            let (field, kind) = (n.field, n.kind);
            match absence {
                Absence::Unknown => {
                    let message = format!(
                        "{field} asks for a {kind}, and this cluster does not know {kind} of {version}: install {}, or take the field away",
                        n.project
                    );
                    Trouble::new(Check::KindUnknown, kind.name(), message)
                }
                Absence::Forbidden => {
                    let message = format!(
                        "{field} asks for a {kind}, and the operator may not list those: set integrations.{} of its chart to true, or take the field away",
                        n.integration
                    );
                    Trouble::new(Check::RoleMissing, kind.name(), message)
                }
            }
        })
        .collect()
}
