//! The resource definition on a real API server: accepted objects, refused objects with their messages, and the output for users.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::indexing_slicing
)]

mod ask;
mod choices;
mod definition;
mod limits;
mod rules;
mod shown;
mod spoil;
mod stored;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bkv_cluster_tests::{ApiServer, SchemaField, schema_fields};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The server of this process, with the resource definition in it.
async fn server() -> &'static ApiServer {
    static SERVER: OnceCell<ApiServer> = OnceCell::const_new();
    SERVER
        .get_or_init(|| async {
            let server = tokio::task::spawn_blocking(ApiServer::start).await.unwrap();
            server.kubectl_on(&["apply"], &definition()).clean();
            await_established(&server, "backupkeyvaults.bkv.dev");
            server
        })
        .await
}

fn await_established(server: &ApiServer, name: &str) {
    // `kubectl wait` is no use here: it fails on a definition without conditions.
    let late = Instant::now() + Duration::from_secs(30);
    let established = r#"-o=jsonpath={.status.conditions[?(@.type=="Established")].status}"#;
    while server.kubectl(&["get", "crd", name, established]).good() != "True" {
        assert!(Instant::now() < late, "{name} is not served within 30 s");
    }
    // The server publishes the schema for `explain` a moment later, and kubectl caches an earlier one.
    let group = name.split_once('.').unwrap().1;
    let published = format!("/openapi/v3/apis/{group}/v1alpha1");
    let late = Instant::now() + Duration::from_secs(30);
    while !server.kubectl(&["get", "--raw", &published]).ok {
        assert!(Instant::now() < late, "{published} is not published");
    }
    server.forget_kinds();
}

fn definition() -> Value {
    serde_json::to_value(bkv_operator::resource::crd()).unwrap()
}

/// Every field of the resource's schema.
fn schema() -> Vec<SchemaField> {
    schema_fields(&definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
}

fn file(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("cases").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_norway::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The least that a person must write.
fn minimal(name: &str) -> Value {
    let mut object = file("minimal.yaml");
    object["metadata"] = json!({ "name": name, "namespace": "default" });
    object
}
