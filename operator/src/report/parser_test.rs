//! S38: an HTTPRoute of the API server with any one value changed is read. Nothing panics.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::route_faults::route_faults;
use crate::changed_test::{any_json, changed};

fn route() -> Value {
    json!({
        "metadata": { "name": "demo-chatd", "namespace": "vaults" },
        "spec": { "parentRefs": [{ "name": "public", "sectionName": "https" }] },
        "status": { "parents": [{
            "parentRef": { "name": "public", "sectionName": "https" },
            "conditions": [{ "type": "Accepted", "status": "False", "reason": "NotAllowedByListeners", "message": "no listener" }],
        }] },
    })
}

proptest! {
    #[test]
    fn s38_a_changed_route_has_at_most_one_fault_for_each_gateway(at: prop::sample::Index, with in any_json()) {
        let value = changed(route(), at, with);
        let parents = value.pointer("/spec/parentRefs").and_then(Value::as_array).map_or(0, Vec::len);
        prop_assert!(route_faults(&value).len() <= parents);
    }
}
