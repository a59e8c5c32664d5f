//! Values that break exactly one limit of a schema, or just reach it.

use std::str::FromStr;

use serde_json::{Value, json};

/// A JSON pointer to a value in an object.
pub(crate) type Pointer = String;

/// One case for the server.
#[derive(Debug)]
pub(crate) struct Try {
    /// For people.
    pub(crate) what: String,
    /// Whole objects. The server must refuse all of them, or accept one of them if the case is a value at the limit.
    pub(crate) values: Vec<Value>,
    /// Text of the refusal. None if the server must accept.
    pub(crate) words: Option<String>,
}

/// The places in `base` that a schema's path matches.
pub(crate) fn pointers(base: &Value, path: &str) -> Vec<Pointer> {
    let steps: Vec<String> = path
        .replace("[]", ".[]")
        .replace("{}", ".{}")
        .split('.')
        .filter(|s| !s.is_empty())
        .map(str::to_owned)
        .collect();
    steps.iter().fold(vec![String::new()], |found, step| {
        found.iter().flat_map(|at| below(base.pointer(at), at, step)).collect()
    })
}

fn below(value: Option<&Value>, at: &str, step: &str) -> Vec<Pointer> {
    match (value, step) {
        (Some(Value::Array(items)), "[]") => (0..items.len()).map(|i| format!("{at}/{i}")).collect(),
        (Some(Value::Object(fields)), "{}") => {
            fields.keys().map(|k| format!("{at}/{}", k.replace('~', "~0").replace('/', "~1"))).collect()
        }
        (Some(Value::Object(fields)), name) if fields.contains_key(name) => vec![format!("{at}/{name}")],
        _ => Vec::new(),
    }
}

/// All cases at one place.
pub(crate) fn tries(schema: &Value, base: &Value, at: &Pointer) -> Vec<Try> {
    let now = base.pointer(at).unwrap();
    let put = |value: Value| with(base, at, value);
    let refuse = |what: &str, value: Value, words: &str| Try {
        what: what.to_owned(),
        values: vec![put(value)],
        words: Some(words.to_owned()),
    };
    let mut all = Vec::new();
    if let Some(wrong) = of_another_type(schema) {
        all.push(refuse("another type", wrong, "must be of type"));
    }
    if schema.get("pattern").is_some() {
        all.push(refuse("against the pattern", json!("\u{fc} \n"), "should match"));
    }
    if let Some(words) = schema["enum"].as_array() {
        all.push(refuse("an unknown word", json!("Unknown"), "supported values"));
        all.extend(words.iter().map(|w| accept(&format!("the word {w}"), vec![put(w.clone())])));
    }
    if let Some(most) = whole(schema, "maxLength") {
        all.push(refuse("longer than maxLength", json!("a".repeat(most + 1)), "may not be more than"));
        all.push(accept(
            "of maxLength",
            stretched(now.as_str().unwrap(), most).into_iter().map(|s| put(json!(s))).collect(),
        ));
    }
    if let Some(least) = whole(schema, "minLength") {
        all.push(refuse("shorter than minLength", json!("a".repeat(least - 1)), "should be at least"));
    }
    if let Some(most) = whole(schema, "maximum") {
        all.push(refuse("above the maximum", json!(most + 1), "should be less than or equal to"));
        all.push(accept("the maximum", vec![put(json!(most))]));
    }
    if let Some(least) = number::<i64>(schema, "minimum") {
        all.push(refuse("below the minimum", json!(least - 1), "should be greater than or equal to"));
        all.push(accept("the minimum", vec![put(json!(least))]));
    }
    if let Some(most) = whole(schema, "maxItems") {
        all.push(refuse("more than maxItems", json!(vec![now[0].clone(); most + 1]), "must have at most"));
    }
    if whole(schema, "minItems").is_some() {
        all.push(refuse("fewer than minItems", json!([]), "should have at least"));
    }
    if let Some(most) = whole(schema, "maxProperties") {
        let map = |n: usize| {
            json!((0..n).map(|i| (format!("k{i}"), "v")).collect::<std::collections::BTreeMap<_, _>>())
        };
        all.push(refuse("more than maxProperties", map(most + 1), "must have at most"));
        all.push(accept("of maxProperties", vec![put(map(most))]));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let mut without = now.clone();
        without.as_object_mut().unwrap().remove(name);
        all.push(refuse(&format!("without {name}"), without, "Required value"));
    }
    all
}

fn accept(what: &str, values: Vec<Value>) -> Try {
    Try { what: what.to_owned(), values, words: None }
}

fn with(base: &Value, at: &str, value: Value) -> Value {
    let mut object = base.clone();
    *object.pointer_mut(at).unwrap() = value;
    object
}

fn of_another_type(schema: &Value) -> Option<Value> {
    match schema["type"].as_str()? {
        "string" => Some(json!(7)),
        _ => Some(json!("seven")),
    }
}

/// `text` at a length of `most`, in every place that could be stretched.
fn stretched(text: &str, most: usize) -> Vec<String> {
    let missing = most.saturating_sub(text.chars().count());
    // A duration gets longer only by repeated parts.
    let time = "00000ms".repeat(most / 7);
    (0..text.len())
        .map(|i| format!("{}{}{}", &text[..i], text[i..=i].repeat(missing), &text[i..]))
        .chain([time])
        .collect()
}

fn whole(schema: &Value, key: &str) -> Option<usize> {
    number(schema, key)
}

/// A limit. The JSON has it as a floating-point number with an integer value.
fn number<T: FromStr>(schema: &Value, key: &str) -> Option<T> {
    format!("{:.0}", schema[key].as_f64()?).parse().ok()
}
