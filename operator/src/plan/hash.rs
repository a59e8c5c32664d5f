//! Hashes that detect a change of a plan. They are not for security.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// SHA-256 of the canonical JSON (keys in order, no spaces), 16 hexadecimal digits.
pub(super) fn of<T: Serialize>(value: &T) -> String {
    let mut text = String::new();
    canonical(&serde_json::to_value(value).unwrap_or_default(), &mut text);
    let digits = hex::encode(Sha256::digest(text.as_bytes()));
    digits.chars().take(16).collect()
}

/// Sorts the keys itself: any dependency can enable a serde_json feature that changes the order of its maps.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            list(out, ('{', '}'), entries, |(key, value), out| {
                let _ = write!(out, "{}:", Value::from(key.as_str()));
                canonical(value, out);
            });
        }
        Value::Array(items) => list(out, ('[', ']'), items, canonical),
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

fn list<T>(
    out: &mut String,
    (open, close): (char, char),
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(T, &mut String),
) {
    out.push(open);
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        each(item, out);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn the_hash_is_stable_and_does_not_see_the_order_of_keys() {
        assert_eq!(
            super::of(&json!({"b": [1, null], "a": "x\""})),
            super::of(&json!({"a": "x\"", "b": [1, null]}))
        );
        assert_ne!(super::of(&json!([1, 2])), super::of(&json!([2, 1])));
        let mut text = String::new();
        super::canonical(&json!({"b": [1, {"d": null, "c": true}], "a": "x\""}), &mut text);
        assert_eq!(text, r#"{"a":"x\"","b":[1,{"c":true,"d":null}]}"#);
        // This value must not change, or every vault of every fleet would seem to need a restart.
        assert_eq!(super::of(&json!({})), "44136fa355b3678a");
    }
}
