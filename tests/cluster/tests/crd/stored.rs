//! Stored objects: defaults, unknown fields, and objects of another release.

use bkv_cluster_tests::merged;
use serde_json::{Value, json};

use crate::{await_established, definition, file, minimal, server};

/// A group of their own, so that the other tests keep their definition.
const GROUP: &str = "upgrade.bkv.dev";

#[tokio::test]
async fn a_minimal_resource_is_stored_with_every_default() {
    let server = server().await;
    server.kubectl_on(&["apply"], &minimal("defaults")).clean();
    let stored: Value =
        serde_json::from_str(&server.kubectl(&["get", "bkv", "defaults", "-o", "json"]).clean()).unwrap();
    assert_eq!(stored["spec"], file("minimal_stored.yaml")["spec"], "{:#}", stored["spec"]);
    // The operator's own types parse the written object to the same values.
    let written: bkv_operator::resource::BackupKeyVaultSpec =
        serde_json::from_value(minimal("defaults")["spec"].clone()).unwrap();
    let read: bkv_operator::resource::BackupKeyVaultSpec =
        serde_json::from_value(stored["spec"].clone()).unwrap();
    assert_eq!(written, read);
    server.kubectl(&["delete", "bkv", "defaults"]).clean();
}

#[tokio::test]
async fn a_field_that_is_not_known_is_refused_by_name() {
    let server = server().await;
    // The schema of an object without fields forbids fields, because server-side apply would drop them silently.
    let empty = "spec.fleet.root.inFleet.escrow";
    for (patch, named) in [
        (json!({ "spec": { "shardz": 3 } }), "spec.shardz"),
        (json!({ "spec": { "hsm": { "softhsm": { "pin": "1234" } } } }), "spec.hsm.softhsm.pin"),
        (
            json!({ "spec": { "regions": [{ "name": "eu-west", "replicas": 3 }] } }),
            "spec.regions[0].replicas",
        ),
        (json!({ "spec": { "fleet": { "root": { "inFleet": { "escrow": true } } } } }), empty),
    ] {
        let wanted = merged(&minimal("unknown"), &patch);
        let last = named.rsplit('.').next().unwrap();
        for (way, name) in [
            (&["apply", "--dry-run=server"][..], named.to_owned()),
            // Server-side apply reports paths in its own notation: `.spec.regions[name="eu-west"].replicas`.
            (&["apply", "--server-side", "--dry-run=server"], format!(".{last}")),
        ] {
            let answer = server.kubectl_on(way, &wanted);
            assert!(!answer.ok && answer.err.contains(&name), "{way:?} {named}: {}", answer.err);
        }
        let lenient =
            server.kubectl_on(&["create", "--dry-run=server", "--validate=warn", "-o", "json"], &wanted);
        if named == empty {
            assert!(!lenient.ok && lenient.err.contains(named), "{}", lenient.err);
        } else {
            assert!(
                lenient.ok && lenient.err.contains(&format!("unknown field \"{named}\"")),
                "{named}: {}",
                lenient.err
            );
        }
    }
}

#[tokio::test]
async fn an_object_reads_the_same_after_the_definition_grew_and_shrank_again() {
    let server = server().await;
    let with_status = file("complete/aws_cloud_hsm.yaml");
    let (now, next) = (in_group(&definition()), in_group(&grown(&definition())));
    server.kubectl_on(&["apply"], &now).clean();
    await_established(server, &format!("backupkeyvaults.{GROUP}"));

    let kind = format!("backupkeyvaults.{GROUP}");
    let read = || -> Value {
        serde_json::from_str(&server.kubectl(&["get", &kind, "old", "-o", "json"]).clean()).unwrap()
    };
    let mut old = merged(
        &with_status,
        &json!({ "apiVersion": format!("{GROUP}/v1alpha1"), "metadata": { "name": "old" } }),
    );
    server.kubectl_on(&["create"], &old).clean();
    server.kubectl_on(&["replace", "--subresource=status"], &old).clean();
    let before = read();
    assert_eq!(before["status"], with_status["status"]);

    // The next release has one more field.
    server.kubectl_on(&["apply"], &next).clean();
    taken_over(server, "spec.novelty");
    assert_eq!(read(), before, "the object is another after an upgrade");
    old["spec"]["novelty"] = json!("new");
    server.kubectl_on(&["apply", "--server-side", "--force-conflicts"], &old).clean();
    assert_eq!(read()["spec"]["novelty"], "new");

    // Back to this release: the server no longer returns the field, keeps all others, and accepts writes.
    server.kubectl_on(&["apply"], &now).clean();
    let late = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while read()["spec"].get("novelty").is_some() {
        assert!(std::time::Instant::now() < late, "a field that is not in the schema is still read");
    }
    let after = read();
    assert_eq!((&after["spec"], &after["status"]), (&before["spec"], &before["status"]));
    let patch = r#"{"spec":{"paused":true}}"#;
    server.kubectl(&["patch", &kind, "old", "--type=merge", "-p", patch]).clean();
    assert_eq!(read()["spec"]["paused"], true);
    let refused = server.kubectl_on(&["apply", "--server-side", "--force-conflicts"], &old);
    assert!(!refused.ok && refused.err.contains("novelty"), "{}", refused.err);
    server.kubectl(&["delete", "crd", &kind]).clean();
}

/// Waits until the API server validates by the definition that was just applied.
fn taken_over(server: &bkv_cluster_tests::ApiServer, field: &str) {
    let late = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let kind = format!("backupkeyvaults.{GROUP}");
    let patch = r#"{"spec":{"novelty":"new"}}"#;
    loop {
        let tried = ["patch", &kind, "old", "--type=merge", "-p", patch, "--dry-run=server", "-o", "json"];
        let answer = server.kubectl(&tried).out;
        if serde_json::from_str::<Value>(&answer).is_ok_and(|o| o["spec"]["novelty"] == "new") {
            return;
        }
        assert!(std::time::Instant::now() < late, "{field} is not known to the server");
    }
}

fn in_group(definition: &Value) -> Value {
    let names = json!({ "shortNames": null, "categories": null });
    let spec = json!({ "group": GROUP, "names": names });
    merged(definition, &json!({ "metadata": { "name": format!("backupkeyvaults.{GROUP}") }, "spec": spec }))
}

fn grown(definition: &Value) -> Value {
    let mut next = definition.clone();
    next["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["novelty"] =
        json!({ "type": "string", "description": "Something that the next release can do." });
    next
}
