//! Annotations and labels.

use std::collections::BTreeMap;

use super::names;
use super::refusal::Refusals;
use crate::conditions::Reason;
use crate::resource::Labels;

/// Annotations: any value.
pub(super) fn annotations(
    given: Option<&Labels>,
    field: &str,
    refusals: &mut Refusals,
) -> BTreeMap<String, String> {
    let given = given.cloned().unwrap_or_default();
    for key in given.keys().filter(|k| !names::qualified(k)) {
        refusals.refuse::<()>(
            field,
            Reason::InvalidName,
            format!("{key:?} is not an annotation's key: write example.org/name"),
        );
    }
    given
}

/// Labels. A value must be a valid label value.
pub(super) fn labels(
    given: Option<&Labels>,
    field: &str,
    refusals: &mut Refusals,
) -> BTreeMap<String, String> {
    let given = given.cloned().unwrap_or_default();
    for (key, value) in given.iter().filter(|(k, v)| !names::qualified(k) || !names::label_value(v)) {
        refusals.refuse::<()>(
            field,
            Reason::InvalidName,
            format!("{key:?}: {value:?} is not a label: write example.org/name and a value of at most 63 letters, digits, '-', '_' and '.'"),
        );
    }
    given
}
