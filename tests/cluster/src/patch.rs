//! JSON merge patch (RFC 7386): a case states its differences from a base.

use serde_json::{Map, Value};

/// `base` with `patch` over it: null takes a field away, an array replaces.
pub fn merged(base: &Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else { return patch.clone() };
    let mut result = base.as_object().cloned().unwrap_or_else(Map::new);
    for (name, change) in changes {
        if change.is_null() {
            result.remove(name);
        } else {
            let before = result.get(name).cloned().unwrap_or(Value::Null);
            result.insert(name.clone(), merged(&before, change));
        }
    }
    Value::Object(result)
}

/// The object that a patch makes out of nothing.
pub fn without_nulls(patch: &Value) -> Value {
    merged(&Value::Null, patch)
}
