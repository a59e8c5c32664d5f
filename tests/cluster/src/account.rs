//! A namespace with the operator's service account in it, bound to exactly the roles of the chart. A missing right fails the tests.

use std::path::{Path, PathBuf};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use kube::config::Kubeconfig;
use serde_json::{Value, json};

use crate::ApiServer;

const NAME: &str = "bkv-operator";
/// Lifetime of the token in seconds, longer than any test.
const LIFE: i64 = 7_200;

/// The operator's account in a namespace.
#[derive(Clone, Debug)]
pub struct Account {
    /// The namespace of the account and of its roles.
    pub namespace: String,
    /// Its user name at the API server.
    pub user: String,
    /// A kubeconfig with a token of this account only.
    pub kubeconfig: PathBuf,
}

/// The chart's rules. `charts/check.sh` compares this file with what the chart renders.
fn rules(part: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/rbac.yaml");
    let text = std::fs::read_to_string(&path).expect("charts/rbac.yaml");
    let all: Value = serde_norway::from_str(&text).expect("YAML");
    all.pointer(part).expect("a part of charts/rbac.yaml").clone()
}

impl Account {
    /// Makes namespace, account, roles and a kubeconfig.
    pub async fn make(server: &ApiServer, namespace: &str) -> Self {
        Self::make_with(server, namespace, &[]).await
    }

    /// The same, with the rights that these of the chart's `integrations` give.
    pub async fn make_with(server: &ApiServer, namespace: &str, integrations: &[&str]) -> Self {
        let apply = async |object: Value| {
            server.apply(&object).await.unwrap_or_else(|e| panic!("{object}: {e}"));
        };
        let meta = |name: &str| json!({ "name": name, "namespace": namespace });
        apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } })).await;
        apply(json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(NAME) })).await;
        let mut own = rules("/rules");
        for integration in integrations {
            let more = rules(&format!("/integrations/{integration}"));
            own.as_array_mut().expect("a list").extend(more.as_array().expect("a list").clone());
        }
        for (name, rules) in [(NAME, own), ("bkv-operator-lease", rules("/lease"))] {
            let group = "rbac.authorization.k8s.io";
            let api = format!("{group}/v1");
            apply(json!({ "apiVersion": api, "kind": "Role", "metadata": meta(name), "rules": rules })).await;
            apply(json!({
                "apiVersion": api, "kind": "RoleBinding", "metadata": meta(name),
                "roleRef": { "apiGroup": group, "kind": "Role", "name": name },
                "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": namespace }],
            }))
            .await;
        }
        let accounts: Api<ServiceAccount> = Api::namespaced(server.client().await, namespace);
        let wanted = TokenRequest {
            spec: Some(TokenRequestSpec { expiration_seconds: Some(LIFE), ..TokenRequestSpec::default() }),
            ..TokenRequest::default()
        };
        let given =
            accounts.create_token_request(NAME, &PostParams::default(), &wanted).await.expect("a token");
        let token = given.status.and_then(|s| s.token).expect("a token");
        let kubeconfig = server.folder().join(format!("kubeconfig-{namespace}"));
        std::fs::write(&kubeconfig, written(server, &token).to_string()).expect("kubeconfig");
        Self {
            namespace: namespace.to_owned(),
            user: format!("system:serviceaccount:{namespace}:{NAME}"),
            kubeconfig,
        }
    }
}

/// The kubeconfig as JSON, which is YAML too.
fn written(server: &ApiServer, token: &str) -> Value {
    let admin = Kubeconfig::read_from(server.folder().join("kubeconfig")).expect("kubeconfig");
    let cluster = admin.clusters.first().expect("a cluster");
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "operator",
        "clusters": [cluster],
        "users": [{ "name": "operator", "user": { "token": token } }],
        "contexts": [{ "name": "operator", "context": { "cluster": cluster.name, "user": "operator" } }],
    })
}
