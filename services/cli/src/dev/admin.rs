//! The vaults' admin API, as the operator uses it too: HTTPS, role `admin`, the server judged by role and region.

use std::time::Duration;

use bkv_mtls::{ClientRole, Files, Identity, Role};
use serde_json::Value;

use super::layout::{Layout, RegionPlan};
use crate::exit::{Exit, Failure, Outcome};

fn failed(region: &str, e: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Unavailable, format!("vault {region}: {e}"))
}

fn http(layout: &Layout, region: &RegionPlan) -> Outcome<reqwest::Client> {
    let identity =
        Identity::load(Files::in_directory(&layout.admin())).map_err(|e| failed(&region.name, e))?;
    let tls = ClientRole::new(identity, Role::Vault)
        .named(&region.name)
        .build()
        .map_err(|e| failed(&region.name, e))?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.as_ref().clone())
        .timeout(Duration::from_secs(40))
        .connect_timeout(Duration::from_secs(2))
        .no_proxy()
        .build()
        .map_err(|e| failed(&region.name, e))
}

fn url(region: &RegionPlan, path: &str) -> String {
    format!("https://127.0.0.1:{}{path}", region.admin)
}

async fn answer(region: &RegionPlan, request: reqwest::RequestBuilder) -> Outcome<Value> {
    let answer = request.send().await.map_err(|e| failed(&region.name, chain(&e)))?;
    let status = answer.status();
    let body: Value = answer.json().await.map_err(|e| failed(&region.name, e))?;
    if status.is_success() {
        return Ok(body);
    }
    let word = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Err(failed(&region.name, format!("{}: {}", word("field"), word("error"))).remedy(word("remedy")))
}

fn chain(e: &dyn std::error::Error) -> String {
    let mut words = e.to_string();
    let mut source = e.source();
    while let Some(e) = source {
        words = format!("{words}: {e}");
        source = e.source();
    }
    words
}

pub(crate) async fn get(layout: &Layout, region: &RegionPlan, path: &str) -> Outcome<Value> {
    answer(region, http(layout, region)?.get(url(region, path)).timeout(Duration::from_secs(3))).await
}

pub(crate) async fn post(layout: &Layout, region: &RegionPlan, path: &str, body: Vec<u8>) -> Outcome<Value> {
    answer(region, http(layout, region)?.post(url(region, path)).body(body)).await
}
