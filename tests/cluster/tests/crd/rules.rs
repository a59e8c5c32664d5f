//! Every CEL rule refuses the wrong object with one message at the wrong field, and accepts the neighbouring valid object.

use std::collections::BTreeSet;

use bkv_cluster_tests::{merged, without_nulls};
use kube::api::{Api, DeleteParams, DynamicObject, PostParams};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ask::{create, dry, object, refusal, vaults};
use crate::{file, minimal, schema, server};

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    at: String,
    says: String,
    from: Option<Value>,
    #[serde(default)]
    refuse: Vec<Value>,
    #[serde(default)]
    accept: Vec<Value>,
    names: Option<Names>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    refuse: Vec<String>,
    accept: Vec<String>,
}

#[tokio::test]
async fn every_rule_refuses_with_its_message_and_accepts_the_nearest_good_value() {
    let vaults = vaults(server().await).await;
    let mut seen = BTreeSet::new();
    for (number, case) in cases().into_iter().enumerate() {
        if case.from.is_some() {
            changes(&vaults, number, &case).await;
        } else {
            creations(&vaults, &case).await;
        }
        seen.insert((case.at, case.says));
    }
    let rules: BTreeSet<_> = schema().iter().flat_map(|p| rules_at(&p.path, &p.schema)).collect();
    let without_case: Vec<_> = rules.difference(&seen).collect();
    assert!(without_case.is_empty(), "rules without a case in cases/rules.yaml: {without_case:#?}");
    let without_rule: Vec<_> = seen.difference(&rules).collect();
    assert!(without_rule.is_empty(), "cases of rules that are not there: {without_rule:#?}");
}

async fn creations(vaults: &Api<DynamicObject>, case: &Case) {
    let patch = |spec: &Value| merged(&minimal("fresh"), &json!({ "spec": spec }));
    let names = case.names.clone().unwrap_or(Names { refuse: Vec::new(), accept: Vec::new() });
    for wanted in case.refuse.iter().map(patch).chain(names.refuse.iter().map(|n| minimal(n))) {
        expect_refused(create(vaults, &wanted).await, case, &wanted);
    }
    for wanted in case.accept.iter().map(patch).chain(names.accept.iter().map(|n| minimal(n))) {
        if let Err(refusal) = create(vaults, &wanted).await {
            panic!("{wanted:#}\nis right, and was refused: {refusal:#?}");
        }
    }
}

async fn changes(vaults: &Api<DynamicObject>, number: usize, case: &Case) {
    let name = format!("rule-{number}");
    let patch = |spec: &Value| merged(&minimal(&name), &json!({ "spec": spec }));
    let from = patch(case.from.as_ref().unwrap());
    let stored = vaults
        .create(&PostParams::default(), &object(&from))
        .await
        .unwrap_or_else(|e| panic!("{from:#}: {e}"));
    let version = json!({ "metadata": { "resourceVersion": stored.metadata.resource_version } });
    let mut tries = Vec::new();
    for wanted in case.refuse.iter().map(patch) {
        let answer = vaults.replace(&name, &dry(), &object(&merged(&wanted, &version))).await;
        tries.push((wanted, true, answer));
    }
    for wanted in case.accept.iter().map(patch) {
        let answer = vaults.replace(&name, &dry(), &object(&merged(&wanted, &version))).await;
        tries.push((wanted, false, answer));
    }
    vaults.delete(&name, &DeleteParams::default()).await.unwrap();
    for (wanted, refused, answer) in tries {
        if refused {
            expect_refused(answer.map(drop).map_err(refusal), case, &wanted);
        } else if let Err(error) = answer {
            panic!("a change from\n{from:#}\nto\n{wanted:#}\nis right, and was refused: {error:#?}");
        }
    }
}

#[track_caller]
fn expect_refused(answer: Result<(), BTreeSet<(String, String)>>, case: &Case, wanted: &Value) {
    let Err(refusal) = answer else { panic!("accepted, against '{}':\n{wanted:#}", case.says) };
    let words = format!(": {}", case.says);
    let expected =
        refusal.len() == 1 && refusal.iter().all(|(at, said)| *at == case.at && said.ends_with(&words));
    assert!(
        expected,
        "{wanted:#}\nis wrong at '{}' by '{}' alone, but was refused with {refusal:#?}",
        case.at, case.says
    );
}

/// The cases of the file. Those of `spec.hsm` are repeated for a region's own token.
fn cases() -> Vec<Case> {
    let written: Vec<Case> = serde_json::from_value(file("rules.yaml")).expect("rules.yaml");
    let of_regions: Vec<Case> =
        written.iter().filter(|c| c.at.starts_with("spec.hsm")).map(in_region).collect();
    for case in &written {
        let halves = case
            .names
            .as_ref()
            .map_or(case.refuse.len().min(case.accept.len()), |n| n.refuse.len().min(n.accept.len()));
        assert!(halves > 0, "'{}' needs a spec to refuse and one to accept", case.says);
    }
    written.into_iter().chain(of_regions).collect()
}

fn in_region(case: &Case) -> Case {
    let moved =
        |spec: &Value| json!({ "regions": [{ "name": "eu-west", "hsm": without_nulls(&spec["hsm"]) }] });
    Case {
        at: case.at.replacen("spec.hsm", "spec.regions[].hsm", 1),
        from: case.from.as_ref().map(moved),
        refuse: case.refuse.iter().map(moved).collect(),
        accept: case.accept.iter().map(moved).collect(),
        ..case.clone()
    }
}

/// The rules of one place: path and message.
pub(crate) fn rules_at(path: &str, schema: &Value) -> Vec<(String, String)> {
    let rules = schema["x-kubernetes-validations"].as_array();
    rules
        .into_iter()
        .flatten()
        .map(|r| (path.to_owned(), r["message"].as_str().unwrap().to_owned()))
        .collect()
}
