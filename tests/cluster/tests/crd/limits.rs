//! Every pattern, limit, enum, required field and type. The test breaks complete objects at one place after the other. The cases come from the schema,
//! so none can be missing. The test also checks that the complete objects cover every place.

use std::collections::BTreeSet;

use bkv_cluster_tests::{ApiServer, SchemaField};
use futures_util::stream::{self, StreamExt as _};
use kube::api::{Api, DynamicObject, PostParams};
use serde_json::{Value, json};

use crate::ask::{Refusal, create, dry, refusal, vaults};
use crate::rules::rules_at;
use crate::spoil::{Pointer, Try, pointers, tries};
use crate::{file, schema, server};

const COMPLETE: [&str; 4] = ["softhsm", "pkcs11", "gcp_kms", "aws_cloud_hsm"];
const AT_ONCE: usize = 16;

#[tokio::test]
async fn every_limit_refuses_what_is_beyond_and_takes_what_is_at_it() {
    let server = server().await;
    let vaults = vaults(server).await;
    let bases = stored_bases(server, &vaults).await;
    let schema = schema();
    let rules: Vec<String> =
        schema.iter().flat_map(|p| rules_at(&p.path, &p.schema)).map(|(_, words)| words).collect();
    let mut work: Vec<(SchemaField, Value, Try)> = Vec::new();
    let mut unheld = BTreeSet::new();
    for place in schema.iter().filter(|p| p.path.starts_with("spec") || p.path.starts_with("status")) {
        let Some((base, pointer)) = bases.iter().find_map(|b| Some((b, first_of(b, &place.path)?))) else {
            unheld.insert(place.path.clone());
            continue;
        };
        work.extend(
            tries(&place.schema, base, &pointer).into_iter().map(|t| (place.clone(), base.clone(), t)),
        );
    }
    assert!(unheld.is_empty(), "cases/complete holds no {unheld:#?}");
    let tried = work.len();
    let wrong: Vec<String> = stream::iter(work)
        .map(|(place, base, attempt)| check(&vaults, &rules, place, base, attempt))
        .buffer_unordered(AT_ONCE)
        .filter_map(|w| async { w })
        .collect()
        .await;
    assert!(wrong.is_empty(), "{} of {tried}: {}", wrong.len(), wrong.join("\n\n"));
    assert!(tried > 700, "only {tried} tries: is the schema still walked?");
}

/// What is wrong with the server's answer.
async fn check(
    vaults: &Api<DynamicObject>,
    rules: &[String],
    place: SchemaField,
    base: Value,
    attempt: Try,
) -> Option<String> {
    let what = format!("{}: {}", place.path, attempt.what);
    let answers: Vec<Result<(), Refusal>> =
        stream::iter(&attempt.values).then(|v| ask(vaults, &base, v)).collect().await;
    match attempt.words {
        // A value at the limit is accepted, in one of its spellings if the field has a pattern. A refusal by a CEL rule does not count here:
        // the server evaluates rules only after all limits hold.
        None => {
            let taken = |a: &Result<(), Refusal>| {
                a.as_ref().map_or_else(
                    |r| r.iter().all(|(_, said)| rules.iter().any(|rule| said.ends_with(rule))),
                    |()| true,
                )
            };
            (!answers.iter().any(taken)).then(|| format!("{what}: refused: {answers:#?}"))
        }
        Some(words) => {
            let here = |refusal: &Refusal| {
                refusal.iter().any(|(at, said)| {
                    at.starts_with(place.path.trim_end_matches("{}")) && said.contains(&words)
                })
            };
            let wrong = answers.iter().any(|a| !matches!(a, Err(refusal) if here(refusal)));
            wrong.then(|| format!("{what}: not refused with '{words}': {answers:#?}"))
        }
    }
}

async fn ask(vaults: &Api<DynamicObject>, base: &Value, spoiled: &Value) -> Result<(), Refusal> {
    if base["status"] == spoiled["status"] {
        let mut fresh = spoiled.clone();
        fresh["metadata"] = json!({ "name": "spoiled", "namespace": "default" });
        return create(vaults, &fresh).await;
    }
    let name = base["metadata"]["name"].as_str().unwrap();
    vaults.replace_subresource("status", name, &dry(), spoiled).await.map(drop).map_err(refusal)
}

/// The complete objects as the server stores them, status included. This also tests that the server accepts them and drops no field.
async fn stored_bases(server: &ApiServer, vaults: &Api<DynamicObject>) -> Vec<Value> {
    let mut bases = Vec::new();
    for name in COMPLETE {
        let written = file(&format!("complete/{name}.yaml"));
        let name = written["metadata"]["name"].as_str().unwrap();
        let mut stored = server.apply(&written).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        if let Some(status) = written.get("status") {
            stored.data["status"] = status.clone();
            stored =
                vaults.replace_subresource("status", name, &PostParams::default(), &stored).await.unwrap();
            assert_eq!(&stored.data["status"], status, "the server dropped or changed something");
        }
        let stored = serde_json::to_value(&stored).unwrap();
        for (pointer, value) in leaves(&written["spec"]) {
            assert_eq!(stored["spec"].pointer(&pointer), Some(&value), "{name}: {pointer}");
        }
        bases.push(stored);
    }
    bases
}

fn first_of(base: &Value, path: &str) -> Option<Pointer> {
    pointers(base, path).into_iter().next()
}

fn leaves(value: &Value) -> Vec<(String, Value)> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => {
            fields.iter().map(|(k, v)| (k.replace('~', "~0").replace('/', "~1"), v)).collect()
        }
        Value::Array(items) => items.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        other => return vec![(String::new(), other.clone())],
    };
    children
        .into_iter()
        .flat_map(|(name, child)| {
            leaves(child).into_iter().map(move |(rest, v)| (format!("/{name}{rest}"), v))
        })
        .collect()
}
