//! A later choice: a user applies the minimal spec and then names another Ingress or database. The server must not refuse that because of a default
//! that it stored before.

use bkv_cluster_tests::merged;
use serde_json::{Value, json};

use crate::{minimal, server};

const WAYS: [&[&str]; 2] = [&["apply", "-o", "json"], &["apply", "--server-side", "-o", "json"]];

#[tokio::test]
async fn a_choice_is_replaced_by_either_apply() {
    let server = server().await;
    let steps = [
        json!({}),
        json!({ "chatd": { "expose": { "ingress": { "host": "a.example", "tlsSecretName": "web" } }, "trustedProxies": ["10.0.8.0/24"] } }),
        json!({ "chatd": { "expose": { "service": {} } } }),
        json!({ "chatd": { "expose": { "gateway": { "hostnames": ["a.example"], "parentRefs": [{ "name": "gate" }] } }, "trustedProxies": ["10.0.8.0/24"] } }),
        json!({ "chatd": { "autoscaling": { "maxReplicas": 3 } } }),
        json!({ "chatd": { "replicas": 3 } }),
        json!({ "postgres": { "external": { "secretRef": { "name": "url" } } } }),
        json!({ "postgres": { "managed": {} } }),
        json!({ "postgres": { "cloudNativePG": { "cluster": "database" } } }),
        json!({ "postgres": { "none": {} } }),
        json!({ "clientAuth": { "jwks": { "url": null, "configMapRef": { "name": "keys" } } } }),
        json!({}),
    ];
    for (number, way) in WAYS.iter().enumerate() {
        let name = format!("choice-{number}");
        for step in &steps {
            let wanted = merged(&minimal(&name), &json!({ "spec": step }));
            let answer = server.kubectl_on(way, &wanted);
            assert!(answer.ok, "{way:?} of {step}: {}", answer.err);
            let stored: Value = serde_json::from_str(&answer.out).unwrap();
            for field in ["/chatd/expose", "/postgres", "/clientAuth/jwks"] {
                let (written, now) = (wanted["spec"].pointer(field), stored["spec"].pointer(field));
                assert_eq!(names(written), names(now), "{way:?} of {step}: {field}");
            }
        }
        server.kubectl(&["delete", "bkv", &name]).clean();
    }
}

fn names(choice: Option<&Value>) -> Vec<String> {
    choice.and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.clone()).collect()
}
