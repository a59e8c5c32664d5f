//! A resource definition's schema, flat: one entry for each place in it.

use serde_json::Value;

/// A place: `spec.regions[].name`. `[]` stands for the items of a list, `{}` for the values of a map.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its path.
    pub path: String,
    /// Its schema.
    pub schema: Value,
}

/// Every place of a schema, the whole (an empty path) first.
pub fn places(schema: &Value) -> Vec<Place> {
    let mut found = Vec::new();
    walk("", schema, &mut found);
    found
}

fn walk(path: &str, schema: &Value, found: &mut Vec<Place>) {
    found.push(Place { path: path.to_owned(), schema: schema.clone() });
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        let dot = if path.is_empty() { "" } else { "." };
        walk(&format!("{path}{dot}{name}"), child, found);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(child) = schema.get(key).filter(|c| c.is_object()) {
            walk(&format!("{path}{mark}"), child, found);
        }
    }
}
