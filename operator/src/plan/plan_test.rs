//! Properties of every plan.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use super::Object;
use super::object::Wave;
use super::rules_test::{check, parsers_accept, templates};
use super::samples_test::{CASES, World, fleet, resource};
use super::specs_test::specs;
use crate::certificates::{AuthorityKind, requests};
use crate::kinds::Kind;
use crate::labels::TEMPLATE_HASH;
use crate::validate::PullPolicy;
use crate::validate::{Postgres, validate};

fn vault_templates(objects: &[Object]) -> BTreeMap<String, Value> {
    templates(objects)
        .filter(|(_, t)| t["metadata"]["labels"]["app.kubernetes.io/component"] == "vault")
        .map(|(o, t)| (o.name.clone(), t.clone()))
        .collect()
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
            objects.iter().find(|o| o.kind == Kind::ConfigMap && o.name == format!("main-{region}")).unwrap();
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
        other.kinds = Kind::known(|_| false);
        other.content = super::Content::default();
        other.initialised = false;
        other.embedded = super::Embedded::parse("groups: [{name: bkv}]", "{}").unwrap();
        assert_eq!(before, vault_templates(&other.objects()));
        other.journal.pinned.vault_image = "registry.example.org/bkv-vault:0.3.0".into();
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
        world.initialised = false;
        let objects = world.objects();
        let workloads =
            objects.iter().filter(|o| o.kind == Kind::Deployment || o.wave() == Wave::Access).count();
        assert_eq!(workloads, 0);
        let database = objects.iter().any(|o| o.kind == Kind::StatefulSet && o.name == "main-postgres");
        assert_eq!(database, matches!(world.fleet.postgres, Postgres::Managed(_)));
        assert_eq!(vault_templates(&objects).len(), world.fleet.regions.len());
    }
}

#[test]
fn kinds_that_the_cluster_lacks_are_left_out() {
    for (_, spec) in CASES {
        let mut world = World::case(spec);
        world.kinds = Kind::known(|_| false);
        assert!(world.objects().iter().all(|o| !o.kind.optional()));
    }
}

#[test]
fn replicas_and_an_autoscaler_never_meet() {
    for (_, spec) in CASES {
        let objects = World::case(spec).objects();
        let scaled = objects.iter().any(|o| o.kind == Kind::HorizontalPodAutoscaler);
        let chatd = objects.iter().find(|o| o.kind == Kind::Deployment).unwrap();
        assert_eq!(chatd.body["spec"]["replicas"].is_null(), scaled);
    }
}

#[test]
fn a_change_of_chatds_configuration_rolls_it_and_new_keys_do_not() {
    let template = |world: &World| {
        let objects = world.objects();
        templates(&objects).find(|(o, _)| o.kind == Kind::Deployment).map(|(_, t)| t.clone()).unwrap()
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
        let budget = objects.iter().find(|o| o.kind == Kind::PodDisruptionBudget && o.name == "main");
        budget.map(|b| b.body["spec"]["minAvailable"].clone())
    };
    assert_eq!(budget(CASES[0].1), Some(2.into()));
    assert_eq!(budget(CASES[1].1), None, "a single region's node could never be drained");
}

#[test]
fn certificates_name_roles_and_hosts() {
    let world = World::case(CASES[0].1);
    let all = requests(&world.fleet);
    let uris: Vec<_> = all.iter().filter_map(crate::certificates::CertificateRequest::uri).collect();
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
    let ingress = requests(&World::case(CASES[2].1).fleet);
    assert!(ingress.iter().any(|c| c.dns().contains(&"chat.example.org".to_owned())));
    assert!(!ingress.iter().any(|c| c.secret == "main-postgres-tls"));
}

/// S34: clients trust the web authority, so it must sign nothing that opens a vault's port.
#[test]
fn s34_the_web_authority_signs_only_chatds_public_certificate() {
    for (name, spec) in CASES {
        let world = World::case(spec);
        let all = requests(&world.fleet);
        let web = all.iter().filter(|c| c.authority == AuthorityKind::Web);
        let web: Vec<_> = web.map(|c| (c.secret.as_str(), c.uri())).collect();
        assert_eq!(web, [("main-chatd-web", None)], "{name}");
        for object in world.objects().iter().filter(|o| o.kind == Kind::Certificate) {
            let wanted = if object.name == "main-chatd-web" { "public" } else { "internal" };
            assert_eq!(object.body["spec"]["issuerRef"]["name"], wanted, "{name}: {}", object.name);
        }
    }
}

#[test]
fn the_longest_names_fit() {
    let spec = CASES[0].1.replace("eu-west", "r234567890123456").replace("us-east", "s234567890123456");
    check(&World::of(fleet(&resource("n2345678901234567890", &spec))));
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
                prop_assert!(!refusals.is_empty(), "refused without a reason");
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
