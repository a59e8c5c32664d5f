//! A resource definition's schema, flat: one entry for each field, list item and map value in it.

use serde_json::Value;

/// A field: `spec.regions[].name`. `[]` stands for the items of a list, `{}` for the values of a map.
#[derive(Clone, Debug)]
pub struct SchemaField {
    /// Its path.
    pub path: String,
    /// Its schema.
    pub schema: Value,
}

/// Every field of a schema, the whole (an empty path) first.
pub fn schema_fields(schema: &Value) -> Vec<SchemaField> {
    let mut found = Vec::new();
    walk("", schema, &mut found);
    found
}

fn walk(path: &str, schema: &Value, found: &mut Vec<SchemaField>) {
    found.push(SchemaField { path: path.to_owned(), schema: schema.clone() });
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
