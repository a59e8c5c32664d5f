//! JSON with one changed value, for the property tests of parsers.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

/// Text that is often almost right for one of the resource's fields.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9]{0,40}(\\.[0-9]{0,12})?(m|k|M|G|T|Ki|Mi|Gi|Ti|s|h|ms)?",
        "([0-9]{1,6}(ms|s|m|h)){1,6}",
        "https?://[a-z0-9.:@/?#%-]{0,40}",
        "[a-zA-Z0-9.*/:@_\\[\\]-]{0,300}",
    ]
}

/// Any JSON value, three levels deep at most.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-zA-Z]{1,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// `value` with one of its parts replaced by `with`.
pub(crate) fn changed(mut value: Value, at: Index, with: Value) -> Value {
    let mut places = Vec::new();
    pointers(&value, "", &mut places);
    let place = at.get(&places);
    if let Some(part) = value.pointer_mut(place) {
        *part = with;
    }
    value
}

/// The JSON pointer of every part below `value`, and of `value`.
fn pointers(value: &Value, place: &str, all: &mut Vec<String>) {
    all.push(place.to_owned());
    match value {
        Value::Array(list) => {
            for (i, part) in list.iter().enumerate() {
                pointers(part, &format!("{place}/{i}"), all);
            }
        }
        Value::Object(map) => {
            for (key, part) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                pointers(part, &format!("{place}/{key}"), all);
            }
        }
        _ => {}
    }
}
