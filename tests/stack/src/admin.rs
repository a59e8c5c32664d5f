//! A vault's administration port, with the administrator's certificate that `bkv dev` issued.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use bkv_admin_api::{VaultClient, VaultError};
use bkv_mtls::{Files, Identity};
use serde_json::Value;

use crate::Fleet;

/// Sends a request to a region's administration port and returns HTTP status and JSON.
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

/// Sends a request to an administration port on this machine with the role certificate in `folder`. Returns HTTP status and bytes.
#[track_caller]
pub fn ask(
    folder: &Path,
    region: &str,
    port: u16,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<(u16, Vec<u8>), VaultError> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let identity = Identity::load(Files::in_directory(folder)).expect("admin's certificate");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = VaultClient::new(region, (Ipv4Addr::LOCALHOST, port).into(), identity)?;
    runtime.block_on(client.call(path, body))
}
