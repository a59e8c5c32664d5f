//! Rules that hold for every plan, whatever the spec.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::object::Wave;
use super::restricted_test::{containers, violations};
use super::samples_test::World;
use super::{Object, pins};
use crate::certificates::requests;
use crate::kinds::Kind;
use crate::validate::Postgres;

pub(super) fn templates(objects: &[Object]) -> impl Iterator<Item = (&Object, &Value)> {
    objects
        .iter()
        .filter(|o| matches!(o.kind, Kind::StatefulSet | Kind::Deployment))
        .map(|o| (o, &o.body["spec"]["template"]))
}

/// Checks all rules.
pub(super) fn check(world: &World) {
    let objects = world.objects();
    assert_eq!(objects, world.objects(), "planned twice, and not the same");
    let mut seen = BTreeSet::new();
    for object in &objects {
        let body = &object.body;
        assert!(seen.insert((object.kind, object.name.clone())), "{} {} twice", object.kind, object.name);
        assert!(!object.name.is_empty() && object.name.len() <= 63, "{}", object.name);
        assert_eq!(body["apiVersion"], object.kind.api_version());
        assert_eq!(body["kind"], object.kind.name());
        let meta = &body["metadata"];
        assert_eq!(meta["name"], object.name.as_str());
        assert_eq!(meta["namespace"], world.fleet.namespace.as_str());
        assert_eq!(meta["labels"]["app.kubernetes.io/managed-by"], "bkv-operator");
        assert_eq!(meta["labels"]["bkv.dev/vault"], world.fleet.name.as_str());
        for value in meta["labels"].as_object().unwrap().values() {
            assert!(value.as_str().unwrap().len() <= 63, "{value}");
        }
        if object.name == world.fleet.names().root() {
            assert!(meta["ownerReferences"].is_null(), "the root outlives the resource");
        } else {
            assert_eq!(meta["ownerReferences"][0]["controller"], true, "{}", object.name);
            assert_eq!(meta["ownerReferences"][0]["uid"], world.fleet.uid.as_str());
        }
    }
    assert!(objects.windows(2).all(|w| w[0].wave() <= w[1].wave()));
    assert!(objects.iter().all(|o| (o.wave() == Wave::Workloads) == o.body["spec"]["template"].is_object()));
    for (object, template) in templates(&objects) {
        assert_eq!(violations(template), Vec::<String>::new(), "{}", object.name);
        mounts_and_volumes_fit(object, template);
        no_log_of_a_module_reaches_the_status(template);
        selects(&object.body["spec"]["selector"]["matchLabels"], template, &object.name);
    }
    selectors_have_pods(&objects);
    pointers_point(&objects);
    references_exist(world, &objects);
}

/// S37: a module may log the PIN. The end of that log must not become the pod's message, and so the resource's.
fn no_log_of_a_module_reaches_the_status(template: &Value) {
    for container in containers(template) {
        let mut mounts = container["volumeMounts"].as_array().into_iter().flatten();
        if mounts.any(|m| m["name"] == "pin") {
            assert_eq!(container["terminationMessagePolicy"], "File", "{container}");
        }
    }
}

fn mounts_and_volumes_fit(object: &Object, template: &Value) {
    let names = |list: &Value, path: &[&str]| -> BTreeSet<String> {
        let entries = list.as_array().into_iter().flatten();
        entries.map(|v| path.iter().fold(v, |v, p| &v[*p]).as_str().unwrap().to_owned()).collect()
    };
    let mut there = names(&template["spec"]["volumes"], &["name"]);
    there.extend(names(&object.body["spec"]["volumeClaimTemplates"], &["metadata", "name"]));
    let mut used = BTreeSet::new();
    for container in containers(template) {
        let mounts = names(&container["volumeMounts"], &["name"]);
        let places = names(&container["volumeMounts"], &["mountPath"]);
        assert_eq!(mounts.len(), container["volumeMounts"].as_array().unwrap().len());
        assert_eq!(mounts.len(), places.len(), "{}: two mounts in one place", object.name);
        used.extend(mounts);
    }
    assert_eq!(there, used, "{}: volumes and mounts differ", object.name);
}

fn selects(selector: &Value, template: &Value, who: &str) {
    let labels = template["metadata"]["labels"].as_object().unwrap();
    assert!(
        selector.as_object().unwrap().iter().all(|(k, v)| labels.get(k) == Some(v)),
        "{who} does not select its pods"
    );
}

/// Each selector of Services, budgets and policies selects a planned pod, except in the policy of a part that does not exist yet.
fn selectors_have_pods(objects: &[Object]) {
    let pods: Vec<&Value> = templates(objects).map(|(_, t)| &t["metadata"]["labels"]).collect();
    for object in objects {
        let spec = &object.body["spec"];
        let selector = match object.kind {
            Kind::Service => &spec["selector"],
            Kind::PodDisruptionBudget | Kind::PodMonitor => &spec["selector"]["matchLabels"],
            Kind::NetworkPolicy => &spec["podSelector"]["matchLabels"],
            _ => continue,
        };
        let selector = selector.as_object().unwrap();
        assert!(!selector.is_empty(), "{} selects everything", object.name);
        let found = pods.iter().any(|labels| selector.iter().all(|(k, v)| labels[k] == *v));
        assert!(found, "{} {} selects nothing", object.kind, object.name);
    }
}

/// Objects of other projects reference existing names. The API server does not report a reference to a missing one.
fn pointers_point(objects: &[Object]) {
    let named = |kind: Kind, name: &Value| objects.iter().find(|o| o.kind == kind && o.name == *name);
    for object in objects {
        let spec = &object.body["spec"];
        match object.kind {
            Kind::PodMonitor => {
                let port = &spec["podMetricsEndpoints"][0]["port"];
                let wanted = spec["selector"]["matchExpressions"][0]["values"].as_array().unwrap();
                for component in wanted {
                    let of = |t: &Value| t["metadata"]["labels"]["app.kubernetes.io/component"] == *component;
                    for (o, template) in templates(objects).filter(|(_, t)| of(t)) {
                        let mut all = containers(template).map(|c| c["ports"].clone());
                        let has =
                            |p: Value| p.as_array().is_some_and(|p| p.iter().any(|p| p["name"] == *port));
                        assert!(all.any(has), "{} has no port {port}", o.name);
                    }
                }
            }
            Kind::HttpRoute => {
                let backend = &spec["rules"][0]["backendRefs"][0];
                let service = named(Kind::Service, &backend["name"]).expect("a Service");
                let ports = service.body["spec"]["ports"].as_array().unwrap();
                assert!(ports.iter().any(|p| p["port"] == backend["port"]), "{service:?}");
            }
            Kind::BackendTlsPolicy => {
                assert!(named(Kind::Service, &spec["targetRefs"][0]["name"]).is_some());
                let authority = named(Kind::ConfigMap, &spec["validation"]["caCertificateRefs"][0]["name"]);
                assert!(authority.unwrap().body["data"]["ca.crt"].is_string());
            }
            _ => {}
        }
    }
}

/// Every object that a pod references is planned, made by an earlier stage, or named in the spec.
fn references_exist(world: &World, objects: &[Object]) {
    let planned = |kind: Kind| -> BTreeSet<String> {
        objects.iter().filter(|o| o.kind == kind).map(|o| o.name.clone()).collect()
    };
    let names = world.fleet.names();
    let mut secrets: BTreeSet<String> = requests(&world.fleet).into_iter().map(|c| c.secret).collect();
    secrets.extend(pins(&world.fleet).into_iter().map(|p| p.secret));
    if matches!(world.fleet.postgres, Postgres::Managed(_)) {
        secrets.extend([names.postgres(), names.postgres_url()]);
    }
    let text = format!("{:?}", world.fleet);
    let given = |name: &str| {
        text.contains(&format!("{name:?}"))
            || text.contains(&format!("{:?}", name.trim_end_matches("-app").trim_end_matches("-ca")))
    };
    for (object, template) in templates(objects) {
        let account = template["spec"]["serviceAccountName"].as_str().unwrap();
        assert!(planned(Kind::ServiceAccount).contains(account), "{}: {account}", object.name);
        for volume in template["spec"]["volumes"].as_array().unwrap() {
            let projected = volume["projected"]["sources"].as_array().into_iter().flatten();
            for source in projected.chain([volume]) {
                let secret = source["secret"]["secretName"].as_str().or(source["secret"]["name"].as_str());
                if let Some(secret) = secret {
                    assert!(secrets.contains(secret) || given(secret), "{}: Secret {secret}", object.name);
                }
                if let Some(map) = source["configMap"]["name"].as_str() {
                    assert!(
                        planned(Kind::ConfigMap).contains(map) || given(map),
                        "{}: ConfigMap {map}",
                        object.name
                    );
                }
            }
        }
    }
}

/// The real parsers accept the rendered files.
pub(super) fn parsers_accept(world: &World) {
    for object in world.objects().iter().filter(|o| o.kind == Kind::ConfigMap) {
        let data = &object.body["data"];
        if let Some(text) = data["vault.toml"].as_str() {
            let config = bkv_config::vault::Config::parse(text, Path::new("/etc/bkv"))
                .unwrap_or_else(|e| panic!("{e}\n{text}"));
            assert_eq!(config.peers.len() + 1, world.fleet.regions.len());
            assert_eq!(config.shards, world.fleet.shards);
        }
        if let Some(text) = data["chatd.toml"].as_str() {
            let config = bkv_config::chatd::Config::parse(text, Path::new("/etc/bkv"))
                .unwrap_or_else(|e| panic!("{e}\n{text}"));
            assert_eq!(config.vaults.len(), world.fleet.regions.len());
            assert_eq!(config.tokens.issuer, world.fleet.client_auth.issuer);
            assert_eq!(config.postgres.is_some(), world.fleet.postgres != Postgres::None);
        }
    }
}
