//! Objects that the spec asks for and the plan leaves out, because the cluster lacks their kind, or the operator lacks the right to it.

use std::collections::BTreeMap;

use crate::api_server::Absence;
use crate::conditions::{Check, Trouble};
use crate::kinds::Kind;
use crate::plan::needed;
use crate::validate::Fleet;

/// One trouble for each such kind. The watches try the kind again every minute.
pub(super) fn troubles(absent: &BTreeMap<Kind, Absence>, fleet: &Fleet) -> Vec<Trouble> {
    let missing = needed(fleet).into_iter().filter_map(|n| Some((n, *absent.get(&n.kind)?)));
    missing
        .map(|(n, absence)| {
            let version = n.kind.api_version();
            let (field, kind) = (n.field, n.kind);
            match absence {
                Absence::Unknown => {
                    let message = format!(
                        "{field} asks for a {kind}, and this cluster does not know {kind} of {version}: install {}, or remove the field",
                        n.project
                    );
                    Trouble::new(Check::KindUnknown, kind.name(), message)
                }
                Absence::Forbidden => {
                    let message = format!(
                        "{field} asks for a {kind}, and RBAC forbids the operator to list that kind: set integrations.{} of its chart to true, or remove the field",
                        n.integration
                    );
                    Trouble::new(Check::RoleMissing, kind.name(), message)
                }
            }
        })
        .collect()
}
