//! A vault's admin port as whoever administers the fleet uses it, with the certificate that `bkv dev` made for that.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bkv_mtls::{ClientRole, Files, Identity, Role};
use serde_json::Value;

use crate::Fleet;

/// What the port answered: HTTP status and JSON.
#[track_caller]
pub fn call(fleet: &Fleet, region: &str, path: &str, body: Option<Vec<u8>>) -> (u16, Value) {
    let plan: Value =
        serde_json::from_slice(&fs::read(fleet.dir().join("plan.json")).expect("plan")).expect("plan.json");
    let regions = plan.get("regions").and_then(Value::as_array).cloned().unwrap_or_default();
    let of = |r: &Value, field: &str| r.get(field).cloned().unwrap_or_default();
    let port = regions.iter().find(|r| of(r, "name") == region).map(|r| of(r, "admin")).expect("a region");
    let port = port.as_u64().and_then(|p| u16::try_from(p).ok()).expect("a port");
    let (status, answer) =
        ask(&fleet.dir().join("admin"), region, port, path, body).expect("an answer of the admin port");
    (status, serde_json::from_slice(&answer).unwrap_or_default())
}

/// What a region's admin port on this machine answers to whoever has the role certificate in `folder`: HTTP status and bytes; the error if it can't be
/// reached.
#[track_caller]
pub fn ask(
    folder: &Path,
    region: &str,
    port: u16,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<(u16, Vec<u8>), reqwest::Error> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let identity = Identity::load(Files::in_directory(folder)).expect("admin's certificate");
    let tls = ClientRole::new(identity, Role::Vault).named(region).build().expect("TLS");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.as_ref().clone())
            .timeout(Duration::from_secs(40))
            .no_proxy()
            .build()
            .expect("a client");
        let url = format!("https://127.0.0.1:{port}{path}");
        let request = match body {
            Some(body) => http.post(url).body(body),
            None => http.get(url),
        };
        let answer = request.send().await?;
        Ok((answer.status().as_u16(), answer.bytes().await?.to_vec()))
    })
}
