//! S38: a resource with any one value changed is refused with its fields, or it is planned. Nothing panics.

use proptest::prelude::*;

use super::samples_test::{CASES, World, resource};
use crate::changed_test::{any_json, changed};
use crate::resource::BackupKeyVault;
use crate::validate::validate;

proptest! {
    #[test]
    fn s38_a_changed_resource_is_refused_or_planned(case in 0..CASES.len(), at: prop::sample::Index, with in any_json()) {
        let whole = serde_json::to_value(resource("main", CASES[case].1)).unwrap();
        let read = serde_json::from_value::<BackupKeyVault>(changed(whole, at, with));
        // The API server checks the types too. What does not have them never reaches the operator.
        let Ok(resource) = read else { return Ok(()) };
        match validate(&resource) {
            Ok(fleet) => {
                let objects = World::of(fleet).objects();
                prop_assert!(!objects.is_empty() && objects.iter().all(|o| (1..=253).contains(&o.name.len())));
            }
            Err(refusals) => {
                prop_assert!(!refusals.is_empty());
                prop_assert!(refusals.iter().all(|r| !r.field.is_empty() && !r.message.is_empty()));
            }
        }
    }
}
