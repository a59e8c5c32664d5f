//! An offline root made with the real command, as far as possible without vaults. The operator publishes the root.

use std::path::Path;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bkv_cluster_tests::binary;
use bkv_wire::documents::Root;
use serde_json::{Value, json};

use crate::TestNamespace;
use crate::rest::quiet;
use crate::test_namespace::PATIENCE;

fn bkv(folder: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(binary("bkv")).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn offline() -> Value {
    json!({ "fleet": { "root": { "inFleet": null, "offline": {
        "rootConfigMapRef": { "name": "root", "key": "root.bin" }, "signedConfigMapRef": { "name": "signed" },
    } } } })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_file_is_waited_for_and_gives_the_fleet_its_id() {
    let place = TestNamespace::new("ceremony").await;
    let operator = place.operator();
    let folder = tempfile::tempdir().unwrap();
    place.demo(offline()).await;
    let words = place.until("Stalled", "True", "RootFile").await;
    assert!(words.contains("bkv ceremony root"), "{words}");
    assert_eq!(place.status().await["phase"], "AwaitingSignature");
    quiet(&place).await;
    assert!(place.get("ConfigMap", "demo-fleet").await.is_none(), "no id is drawn");
    assert!(place.get("StatefulSet", "demo-eu-west").await.is_none());

    place.put("ConfigMap", "root", json!({ "data": { "root.bin": "no root" } })).await;
    place
        .eventually("a message about the file", PATIENCE, async || {
            let (_, reason, words) = place.condition("Stalled").await;
            if reason == "RootFile" && words.contains("that is no root file") { Ok(()) } else { Err(words) }
        })
        .await;

    bkv(folder.path(), &["ceremony", "root", "--key", "root.key", "--root", "root.bin"]);
    let bytes = std::fs::read(folder.path().join("root.bin")).unwrap();
    place
        .put(
            "ConfigMap",
            "root",
            json!({ "data": null, "binaryData": { "root.bin": STANDARD.encode(&bytes) } }),
        )
        .await;
    place.until_started().await;
    let journal = place.get("ConfigMap", "demo-fleet").await.unwrap();
    let id = hex::encode(Root::decode(&bytes).unwrap().fleet.0);
    assert_eq!(journal["data"]["fleet"], id);
    let published = place.until_there("ConfigMap", "demo-root").await;
    assert_eq!(published["binaryData"]["root.bin"], STANDARD.encode(&bytes), "as people gave it");
    let toml = place.get("ConfigMap", "demo-eu-west").await.unwrap()["data"]["vault.toml"].clone();
    assert!(!toml.as_str().unwrap().contains("make_root"), "{toml}");

    // Another root is another fleet. The operator reports that and changes nothing. (A running operator reverts such an edit like any other.)
    drop(operator);
    bkv(folder.path(), &["ceremony", "root", "--key", "other.key", "--root", "other.bin"]);
    let other = std::fs::read(folder.path().join("other.bin")).unwrap();
    place
        .edit("ConfigMap", "demo-root", json!({ "binaryData": { "root.bin": STANDARD.encode(&other) } }))
        .await;
    let _next = place.operator();
    let words = place.until("Stalled", "True", "RootMismatch").await;
    assert!(words.contains("restore it"), "{words}");
    assert_eq!(place.get("ConfigMap", "demo-fleet").await.unwrap()["data"]["fleet"], id);
}
