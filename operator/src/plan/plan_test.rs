//! What holds for every plan.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use super::restricted_test::{containers, violations};
use super::samples_test::{CASES, World, fleet, resource};
use super::{Object, Stage, TEMPLATE_HASH, certificates, pins};
use crate::resource::{BackupKeyVault, PullPolicy};
use crate::validate::{Postgres, validate};

fn templates(objects: &[Object]) -> impl Iterator<Item = (&Object, &Value)> {
    objects
        .iter()
        .filter(|o| matches!(o.kind, "StatefulSet" | "Deployment"))
        .map(|o| (o, &o.body["spec"]["template"]))
}

fn vault_templates(objects: &[Object]) -> BTreeMap<String, Value> {
    templates(objects)
        .filter(|(_, t)| t["metadata"]["labels"]["app.kubernetes.io/component"] == "vault")
        .map(|(o, t)| (o.name.clone(), t.clone()))
        .collect()
}

/// What must hold for every plan, whatever the spec.
fn check(world: &World) {
    let objects = world.objects();
    assert_eq!(objects, world.objects(), "planned twice, and not the same");
    let mut seen = BTreeSet::new();
    for object in &objects {
        let body = &object.body;
        assert!(seen.insert((object.kind, object.name.clone())), "{} {} twice", object.kind, object.name);
        assert!(!object.name.is_empty() && object.name.len() <= 63, "{}", object.name);
        assert_eq!(body["apiVersion"], object.api_version);
        assert_eq!(body["kind"], object.kind);
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
        assert_ne!(object.kind, "Secret", "key material is made by the edge");
    }
    assert!(objects.windows(2).all(|w| w[0].stage <= w[1].stage));
    assert!(objects.iter().all(|o| (o.stage == Stage::Workloads) == o.body["spec"]["template"].is_object()));
    for (object, template) in templates(&objects) {
        assert_eq!(violations(template), Vec::<String>::new(), "{}", object.name);
        mounts_and_volumes_fit(object, template);
        selects(&object.body["spec"]["selector"]["matchLabels"], template, &object.name);
    }
    selectors_have_pods(&objects);
    references_exist(world, &objects);
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

/// Each selector of Services, budgets and policies finds a pod that is planned, unless it is the policy of a part that is not there yet.
fn selectors_have_pods(objects: &[Object]) {
    let pods: Vec<&Value> = templates(objects).map(|(_, t)| &t["metadata"]["labels"]).collect();
    for object in objects {
        let spec = &object.body["spec"];
        let selector = match object.kind {
            "Service" => &spec["selector"],
            "PodDisruptionBudget" => &spec["selector"]["matchLabels"],
            "NetworkPolicy" => &spec["podSelector"]["matchLabels"],
            _ => continue,
        };
        let selector = selector.as_object().unwrap();
        assert!(!selector.is_empty(), "{} selects everything", object.name);
        let found = pods.iter().any(|labels| selector.iter().all(|(k, v)| labels[k] == *v));
        assert!(found, "{} {} selects nothing", object.kind, object.name);
    }
}

/// Every name that a pod needs is planned, made by the edge, or was given in the spec.
fn references_exist(world: &World, objects: &[Object]) {
    let planned = |kind: &str| -> BTreeSet<String> {
        objects.iter().filter(|o| o.kind == kind).map(|o| o.name.clone()).collect()
    };
    let names = world.fleet.names();
    let mut secrets: BTreeSet<String> = certificates(&world.fleet).into_iter().map(|c| c.secret).collect();
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
        assert!(planned("ServiceAccount").contains(account), "{}: {account}", object.name);
        for volume in template["spec"]["volumes"].as_array().unwrap() {
            let projected = volume["projected"]["sources"].as_array().into_iter().flatten();
            for source in projected.chain([volume]) {
                let secret = source["secret"]["secretName"].as_str().or(source["secret"]["name"].as_str());
                if let Some(secret) = secret {
                    assert!(secrets.contains(secret) || given(secret), "{}: Secret {secret}", object.name);
                }
                if let Some(map) = source["configMap"]["name"].as_str() {
                    assert!(
                        planned("ConfigMap").contains(map) || given(map),
                        "{}: ConfigMap {map}",
                        object.name
                    );
                }
            }
        }
    }
}

/// The real parsers take what is rendered.
fn parsers_accept(world: &World) {
    for object in world.objects().iter().filter(|o| o.kind == "ConfigMap") {
        let data = &object.body["data"];
        if let Some(text) = data["vault.toml"].as_str() {
            // The section is for a vault that makes the root; its parser is tested where the vault learns it.
            let mut table: toml::Table = text.parse().unwrap();
            if let Some(make) = table.remove("make_root") {
                assert_eq!(make["fleet"].as_str(), Some(world.journal.fleet_id.as_str()));
            }
            let config = bkv_vault::config::Config::parse(&table.to_string(), Path::new("/etc/bkv"))
                .unwrap_or_else(|e| panic!("{e}\n{text}"));
            assert_eq!(config.peers.len() + 1, world.fleet.regions.len());
            assert_eq!(config.shards, world.fleet.shards);
        }
        if let Some(text) = data["chatd.toml"].as_str() {
            let config = bkv_chatd::config::Config::parse(text, Path::new("/etc/bkv"))
                .unwrap_or_else(|e| panic!("{e}\n{text}"));
            assert_eq!(config.vaults.len(), world.fleet.regions.len());
            assert_eq!(config.tokens.issuer, world.fleet.client_auth.issuer);
            assert_eq!(config.postgres.is_some(), world.fleet.postgres != Postgres::None);
        }
    }
}

#[test]
fn every_case_holds() {
    for (_, spec) in CASES {
        let world = World::case(spec);
        check(&world);
        parsers_accept(&world);
    }
}

#[test]
fn only_one_vault_makes_the_root_and_the_others_wait_for_it() {
    let config = |world: &World, region: &str| -> toml::Table {
        let objects = world.objects();
        let map =
            objects.iter().find(|o| o.kind == "ConfigMap" && o.name == format!("main-{region}")).unwrap();
        map.body["data"]["vault.toml"].as_str().unwrap().parse().unwrap()
    };
    let world = World::case(CASES[0].1);
    assert!(config(&world, "eu-west").contains_key("make_root"));
    assert_eq!(config(&world, "eu-west")["root"].as_str(), Some("/var/lib/bkv/root.bin"));
    for other in ["eu-north", "us-east"] {
        assert!(!config(&world, other).contains_key("make_root"));
        assert_eq!(config(&world, other)["root"].as_str(), Some("/etc/bkv-root/root.bin"));
    }
    let offline = World::case(CASES[4].1);
    assert!(!config(&offline, "eu-west").contains_key("make_root"));
    let mounts =
        |world: &World| serde_json::to_string(&vault_templates(&world.objects())["main-eu-west"]).unwrap();
    assert!(!mounts(&world).contains("main-root"), "the seed would wait for what only it can make");
    assert!(mounts(&offline).contains("main-root"));
}

#[test]
fn a_vaults_pod_depends_on_the_spec_and_the_journal_only() {
    for (_, spec) in CASES {
        let world = World::case(spec);
        let before = vault_templates(&world.objects());
        let mut other = World::case(spec);
        other.settings.vault_image = "elsewhere/bkv-vault:9".into();
        other.settings.chatd_image = "elsewhere/bkv-chatd:9".into();
        other.settings.postgres_image = "elsewhere/bkv-postgres:9".into();
        other.settings.copier_image = "elsewhere/bkv-copier:9".into();
        other.settings.pull_policy = PullPolicy::Never;
        other.settings.version = "9.9.9".into();
        other.settings.operator_namespace = "elsewhere".into();
        other.kinds = super::Kinds::default();
        other.content = super::Content::default();
        other.journal.initialised = false;
        other.embedded = super::Embedded::parse("groups: []", "{}").unwrap();
        assert_eq!(before, vault_templates(&other.objects()));
        other.journal.vault_image = "registry.example.org/bkv-vault:0.3.0".into();
        let after = vault_templates(&other.objects());
        for (name, template) in &before {
            let hash = |t: &Value| t["metadata"]["annotations"][TEMPLATE_HASH].as_str().unwrap().to_owned();
            assert_eq!(hash(template).len(), 16);
            assert_ne!(hash(template), hash(&after[name]), "another image, and the same hash");
        }
    }
}

#[test]
fn nothing_that_serves_clients_is_there_before_the_fleet_is_initialised() {
    for (_, spec) in CASES {
        let mut world = World::case(spec);
        world.journal.initialised = false;
        let objects = world.objects();
        let workloads = objects.iter().filter(|o| o.kind == "Deployment" || o.stage == Stage::Access).count();
        assert_eq!(workloads, 0);
        let database = objects.iter().any(|o| o.kind == "StatefulSet" && o.name == "main-postgres");
        assert_eq!(database, matches!(world.fleet.postgres, Postgres::Managed(_)));
        assert_eq!(vault_templates(&objects).len(), world.fleet.regions.len());
    }
}

#[test]
fn kinds_that_the_cluster_lacks_are_left_out() {
    for (_, spec) in CASES {
        let mut world = World::case(spec);
        world.kinds = super::Kinds::default();
        let foreign = ["PodMonitor", "PrometheusRule", "HTTPRoute", "Certificate"];
        assert!(world.objects().iter().all(|o| !foreign.contains(&o.kind)));
    }
}

#[test]
fn replicas_and_an_autoscaler_never_meet() {
    for (_, spec) in CASES {
        let objects = World::case(spec).objects();
        let scaled = objects.iter().any(|o| o.kind == "HorizontalPodAutoscaler");
        let chatd = objects.iter().find(|o| o.kind == "Deployment").unwrap();
        assert_eq!(chatd.body["spec"]["replicas"].is_null(), scaled);
    }
}

#[test]
fn a_change_of_chatds_configuration_rolls_it_and_new_keys_do_not() {
    let template = |world: &World| {
        let objects = world.objects();
        templates(&objects).find(|(o, _)| o.kind == "Deployment").map(|(_, t)| t.clone()).unwrap()
    };
    let world = World::case(CASES[0].1);
    let mut keys = World::case(CASES[0].1);
    keys.content.jwks = Some(r#"{"keys":[{}]}"#.into());
    assert_ne!(world.objects(), keys.objects());
    assert_eq!(template(&world), template(&keys));
    let mut limits = World::case(CASES[0].1);
    limits.fleet.chatd.frames_per_second = 7;
    assert_ne!(template(&world), template(&limits));
}

#[test]
fn the_budget_keeps_all_but_one() {
    let budget = |spec: &str| {
        let objects = World::case(spec).objects();
        let budget = objects.iter().find(|o| o.kind == "PodDisruptionBudget" && o.name == "main");
        budget.map(|b| b.body["spec"]["minAvailable"].clone())
    };
    assert_eq!(budget(CASES[0].1), Some(2.into()));
    assert_eq!(budget(CASES[1].1), None, "a single region's node could never be drained");
}

#[test]
fn certificates_name_roles_and_hosts() {
    let world = World::case(CASES[0].1);
    let all = certificates(&world.fleet);
    let uris: Vec<_> = all.iter().filter_map(super::CertificateRequest::uri).collect();
    assert_eq!(
        uris,
        [
            "bkv://role/admin/operator",
            "bkv://role/vault/eu-west",
            "bkv://role/vault/eu-north",
            "bkv://role/vault/us-east",
            "bkv://role/chatd/main"
        ]
    );
    let web = all.iter().find(|c| c.secret == "main-chatd-web").unwrap();
    assert_eq!(
        web.dns(),
        ["main-chatd", "main-chatd.vaults", "main-chatd.vaults.svc", "main-chatd.vaults.svc.cluster.local"]
    );
    let ingress = certificates(&World::case(CASES[2].1).fleet);
    assert!(ingress.iter().any(|c| c.dns().contains(&"chat.example.org".to_owned())));
    assert!(!ingress.iter().any(|c| c.secret == "main-postgres-tls"));
}

#[test]
fn the_longest_names_fit() {
    let spec = CASES[0].1.replace("eu-west", "r234567890123456").replace("us-east", "s234567890123456");
    check(&World::of(fleet(&resource("n2345678901234567890", &spec))));
}

/// Specs of any shape that the schema lets through, and some that it doesn't.
fn specs() -> impl Strategy<Value = BackupKeyVault> {
    let hsm = prop_oneof![
        Just("{softhsm: {}}"),
        Just("{softhsm: {pinSecretRef: {name: a-pin}, tokenStorage: 1Gi}}"),
        Just("{gcpKms: {keyRing: projects/p/locations/l/keyRings/k, libraryImage: i}}"),
        Just(
            "{awsCloudHsm: {clusterId: cluster-1, hsmAddresses: ['10.0.0.1', 'fd00::1'], customerCaConfigMapRef: {name: ca-map}, pinSecretRef: {name: a-pin}, libraryImage: i}}"
        ),
        Just(
            "{pkcs11: {libraryImage: i, modulePath: /usr/lib/m.so, tokenLabel: t, pinSecretRef: {name: a-pin}}}"
        ),
        Just(
            "{pkcs11: {libraryImage: i, modulePath: /opt/v/m.so, libraryDirs: [/opt/v, /opt/w], tokenLabel: 'ü \"#', pinSecretRef: {name: a-pin, key: k}, configMapRef: {name: some-map, key: a}, configSecretRef: {name: some-secret, key: b, mountPath: /etc/other}, env: [{name: LD_LIBRARY_PATH, value: /x}]}}"
        ),
    ];
    let region = ("[a-z][a-z0-9-]{0,14}[a-z0-9]", proptest::option::of(hsm.clone()), 0u8..30).prop_map(
        |(name, own, size)| {
            let own = own.map_or(String::new(), |h| format!(", hsm: {h}"));
            format!("{{name: '{name}', storage: {{size: {size}Gi}}{own}}}")
        },
    );
    let chatd = prop_oneof![
        Just("{}"),
        Just("{replicas: 0}"),
        Just("{autoscaling: {maxReplicas: 4}}"),
        Just("{expose: {ingress: {host: a.example, tlsSecretName: t}}}"),
        Just("{expose: {service: {type: LoadBalancer, annotations: {a.example/b: 'x: y'}}}}"),
        Just("{expose: {gateway: {parentRefs: [{name: g}], hostnames: ['*.a.example']}}}"),
    ];
    let postgres = prop_oneof![
        Just("{managed: {}}"),
        Just("{external: {secretRef: {name: a-database}}}"),
        Just("{cloudNativePG: {cluster: pg}}"),
        Just("{none: {}}"),
    ];
    let tls = prop_oneof![
        Just("{builtin: {}}"),
        Just("{certManager: {issuerRef: {name: i}, leafValidity: 100h}}"),
    ];
    let jwks = prop_oneof![Just("{url: 'https://i.example/k'}"), Just("{configMapRef: {name: keys-map}}")];
    let text = "[ -~]{1,40}";
    (
        ("[a-z]([a-z0-9-]{0,18}[a-z0-9])?", proptest::collection::vec(region, 1..8), hsm),
        (chatd, postgres, tls, jwks),
        (text, 1u16..300, any::<bool>(), "[a-z0-9./?=&#-]{1,30}"),
    )
        // Mostly odd numbers of regions: the others are refused at once.
        .prop_map(|((name, mut regions, hsm), (chatd, postgres, tls, jwks), (audience, shards, monitored, path))| {
            if regions.len() % 2 == 0 && shards % 8 != 0 {
                regions.pop();
            }
            let mut all: BackupKeyVault = resource(
                &name,
                &format!(
                    "\n  regions: [{}]\n  hsm: {hsm}\n  chatd: {chatd}\n  postgres: {postgres}\n  tls: {tls}\n  shards: {shards}\n  monitoring: {{podMonitor: {monitored}, prometheusRule: {monitored}, dashboard: {monitored}}}\n  clientAuth: {{issuer: 'https://i.example/{path}', jwks: {jwks}}}\n",
                    regions.join(", ")
                ),
            );
            all.spec.client_auth.audiences.chatd = audience;
            all
        })
}

#[test]
fn every_validated_spec_has_a_plan_that_holds() {
    let config = ProptestConfig { cases: 300, ..ProptestConfig::default() };
    let (accepted, refused) = (Cell::new(0), Cell::new(0));
    let run = TestRunner::new(config).run(&specs(), |resource| {
        match validate(&resource) {
            Ok(fleet) => {
                accepted.set(accepted.get() + 1);
                let world = World::of(fleet);
                check(&world);
                parsers_accept(&world);
            }
            Err(refusals) => {
                refused.set(refused.get() + 1);
                prop_assert!(!refusals.is_empty(), "refused, and nobody says why");
            }
        }
        Ok(())
    });
    run.unwrap_or_else(|e| panic!("{e}"));
    // Otherwise the specs that are made would show little.
    assert!(
        accepted.get() >= 60 && refused.get() >= 20,
        "{} accepted, {} refused",
        accepted.get(),
        refused.get()
    );
}
