//! A Gateway before ChatD, with the real definitions of Gateway API.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bkv_operator::certificates::read_chain;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::TestNamespace;
use crate::kinds_known::{ALL, rests, server};
use crate::test_namespace::PATIENCE;

fn exposed(parents: &Value) -> Value {
    json!({ "chatd": { "expose": { "gateway": { "hostnames": ["vault.example.org", "*.keys.example.org"], "parentRefs": parents } }, "trustedProxies": ["10.0.8.0/24"] } })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_route_has_the_parents_of_the_spec_and_leads_to_chatd_by_tls() {
    let place = TestNamespace::with(server().await, "gateway", &ALL).await;
    let _operator = place.operator();
    place.made().await;
    let listener = json!({ "name": "public", "namespace": "gateways", "sectionName": "https" });
    place.demo(exposed(&json!([listener, { "name": "inner" }]))).await;
    let route = place.until_there("HTTPRoute", "demo-chatd").await["spec"].clone();
    let gateway = json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway" });
    let with = |more: &Value| bkv_cluster_tests::merged(&gateway, more);
    assert_eq!(route["parentRefs"], json!([with(&listener), with(&json!({ "name": "inner" }))]));
    assert_eq!(route["hostnames"], json!(["vault.example.org", "*.keys.example.org"]));

    let backend = &route["rules"][0]["backendRefs"][0];
    let service = place.until_there("Service", backend["name"].as_str().unwrap()).await;
    let ports = service["spec"]["ports"].as_array().unwrap();
    assert!(ports.iter().any(|p| p["port"] == backend["port"] && p["targetPort"] == "public"), "{ports:?}");

    // The authority and name that the Gateway verifies match ChatD's certificate.
    let policy = place.until_there("BackendTLSPolicy", "demo-chatd").await["spec"].clone();
    assert_eq!(policy["targetRefs"][0]["name"], backend["name"]);
    let validation = &policy["validation"];
    let map =
        place.until_there("ConfigMap", validation["caCertificateRefs"][0]["name"].as_str().unwrap()).await;
    let secret = place.get("Secret", "demo-chatd-web").await.unwrap();
    let file = |key: &str| STANDARD.decode(secret["data"][key].as_str().unwrap()).unwrap();
    assert_eq!(map["data"]["ca.crt"].as_str().unwrap().as_bytes(), file("ca.crt"));
    let chain = read_chain(&file("tls.crt")).unwrap();
    let host = format!("dns:{}", validation["hostname"].as_str().unwrap());
    assert!(
        chain[0].names.contains(&host) && chain[0].names.contains(&"dns:vault.example.org".into()),
        "{chain:?}"
    );

    place.demo(exposed(&json!([{ "name": "inner", "sectionName": "tls" }]))).await;
    place
        .eventually("the other parent", PATIENCE, async || {
            let parents = place.get("HTTPRoute", "demo-chatd").await.unwrap()["spec"]["parentRefs"].clone();
            let wanted = json!([with(&json!({ "name": "inner", "sectionName": "tls" }))]);
            if parents == wanted { Ok(()) } else { Err(parents) }
        })
        .await;
}

/// A rule of Gateway API that our definition lacks. The status shows the server's message, and a corrected spec is enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_gateway_api_is_reported_with_its_message() {
    let place = TestNamespace::with(server().await, "gateway-refused", &ALL).await;
    let _operator = place.operator();
    place.made().await;
    place.demo(exposed(&json!([{ "name": "public" }, { "name": "public" }]))).await;
    let words = place.until("Stalled", "True", "ObjectRefused").await;
    assert!(words.contains("HTTPRoute demo-chatd") && words.contains("sectionName"), "{words}");
    place.until_there("Deployment", "demo-chatd").await;
    place
        .demo(exposed(
            &json!([{ "name": "public", "sectionName": "a" }, { "name": "public", "sectionName": "b" }]),
        ))
        .await;
    place.until_there("HTTPRoute", "demo-chatd").await;
    place.until("Stalled", "False", "Moving").await;
}

/// A route that no Gateway serves looks like a working one, so the status must report it.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_status_of_the_route_is_shown() {
    let place = TestNamespace::with(server().await, "gateway-status", &ALL).await;
    let _operator = place.operator();
    place.made().await;
    place.demo(exposed(&json!([{ "name": "public", "namespace": "gateways" }]))).await;
    let reported = async |words: &str| {
        place
            .eventually(words, PATIENCE, async || {
                let waits = place.waits("RouteNotServed").await;
                let found = waits.iter().find(|w| w["target"] == "public");
                let good = found.and_then(|w| w["message"].as_str()).is_some_and(|m| m.contains(words));
                if good { Ok(()) } else { Err(waits) }
            })
            .await;
    };
    reported("has not reported on HTTPRoute demo-chatd yet").await;
    let set_status = async |status: &str, reason: &str| {
        let condition = json!({
            "type": "Accepted", "status": status, "reason": reason, "message": "no listener allows it",
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let parent = json!({
            "parentRef": { "name": "public", "namespace": "gateways" },
            "controllerName": "example.org/gateways", "conditions": [condition],
        });
        let patch = Patch::Merge(json!({ "status": { "parents": [parent] } }));
        place.api("HTTPRoute").patch_status("demo-chatd", &PatchParams::default(), &patch).await.unwrap();
    };
    set_status("False", "NotAllowedByListeners").await;
    reported("does not serve HTTPRoute demo-chatd: NotAllowedByListeners: no listener allows it").await;
    rests(&place).await;
    set_status("True", "Accepted").await;
    place
        .eventually("no wait for the route", PATIENCE, async || {
            let waits = place.waits("RouteNotServed").await;
            if waits.is_empty() { Ok(()) } else { Err(waits) }
        })
        .await;
}
