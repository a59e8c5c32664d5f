//! One test's namespace on the shared server, with its operator, its resource `demo` and its objects.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bkv_cluster_tests::definitions::define;
use bkv_cluster_tests::{Account, ApiServer, Operator, Request, merged, requests};
use bkv_operator::kinds::Kind;
use kube::Client;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Seconds. The machine may be busy.
pub(crate) const PATIENCE: u64 = 60;

/// One server for all tests that don't break it.
async fn shared() -> &'static ApiServer {
    static SERVER: OnceCell<ApiServer> = OnceCell::const_new();
    SERVER.get_or_init(|| server_with(Some(definition()))).await
}

/// A server of its own, with this resource definition in it.
pub(crate) async fn server_with(definition: Option<Value>) -> ApiServer {
    let server = tokio::task::spawn_blocking(ApiServer::start).await.unwrap();
    if let Some(definition) = definition {
        define(&server, &definition).await;
    }
    server
}

/// The released definition.
pub(crate) fn definition() -> Value {
    serde_json::to_value(bkv_operator::resource::crd()).unwrap()
}

/// The minimal spec.
fn minimal() -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("cases/minimal.yaml");
    serde_norway::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub(crate) struct TestNamespace<'a> {
    pub(crate) server: &'a ApiServer,
    pub(crate) account: Account,
    client: Client,
}

impl TestNamespace<'static> {
    /// A namespace of the shared server.
    pub(crate) async fn new(namespace: &str) -> Self {
        TestNamespace::on(shared().await, namespace).await
    }
}

impl<'a> TestNamespace<'a> {
    pub(crate) async fn on(server: &'a ApiServer, namespace: &str) -> Self {
        Self { server, account: Account::make(server, namespace).await, client: server.client().await }
    }

    /// Where the operator has the rights that these of the chart's `integrations` give.
    pub(crate) async fn with(server: &'a ApiServer, namespace: &str, integrations: &[&str]) -> Self {
        let account = Account::make_with(server, namespace, integrations).await;
        Self { server, account, client: server.client().await }
    }

    /// An operator that looks every five seconds.
    pub(crate) fn operator(&self) -> Operator {
        self.operator_called("one")
    }

    pub(crate) fn operator_called(&self, identity: &str) -> Operator {
        Operator::start(&self.account, identity, &["--resync", "5"])
    }

    pub(crate) fn api(&self, kind: &str) -> Api<DynamicObject> {
        let other = |group, version, kind, plural| {
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
        };
        let resource = match kind {
            "BackupKeyVault" => other("bkv.dev", "v1alpha1", kind, "backupkeyvaults"),
            "Secret" => other("", "v1", kind, "secrets"),
            "Lease" => other("coordination.k8s.io", "v1", kind, "leases"),
            "Event" => other("events.k8s.io", "v1", kind, "events"),
            _ => kind.parse::<Kind>().expect("a kind of the operator").resource(),
        };
        Api::namespaced_with(self.client.clone(), &self.account.namespace, &resource)
    }

    pub(crate) async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let found = self.api(kind).get_opt(name).await.unwrap();
        found.map(|o| serde_json::to_value(o).unwrap())
    }

    pub(crate) async fn all(&self, kind: &str) -> Vec<Value> {
        let found = self.api(kind).list(&ListParams::default()).await.unwrap();
        found.items.into_iter().map(|o| serde_json::to_value(o).unwrap()).collect()
    }

    /// What the status waits for under this check.
    pub(crate) async fn waits(&self, check: &str) -> Vec<Value> {
        let status = self.status().await;
        let all = status["waits"].as_array().cloned().unwrap_or_default();
        all.into_iter().filter(|w| w["check"] == check).collect()
    }

    /// Creates or changes an object as a user does.
    pub(crate) async fn put(&self, kind: &str, name: &str, body: Value) -> Value {
        let (api, version) = match kind {
            "BackupKeyVault" => (self.api(kind), "bkv.dev/v1alpha1".to_owned()),
            "Secret" => (self.api(kind), "v1".to_owned()),
            _ => (self.api(kind), kind.parse::<Kind>().unwrap().api_version()),
        };
        let object = merged(
            &json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name, "namespace": self.account.namespace } }),
            &body,
        );
        let done = api.patch(name, &PatchParams::apply("person").force(), &Patch::Apply(&object)).await;
        serde_json::to_value(done.unwrap_or_else(|e| panic!("{object}: {e}"))).unwrap()
    }

    /// Changes one that is there, like `kubectl edit`.
    pub(crate) async fn edit(&self, kind: &str, name: &str, patch: Value) {
        let params = PatchParams { field_manager: Some("kubectl-edit".into()), ..PatchParams::default() };
        self.api(kind).patch(name, &params, &Patch::Merge(&patch)).await.unwrap();
    }

    pub(crate) async fn delete(&self, kind: &str, name: &str) {
        self.api(kind).delete(name, &DeleteParams::background()).await.unwrap();
    }

    /// The resource `demo`: the minimal spec merged with `spec`.
    pub(crate) async fn demo(&self, spec: Value) -> Value {
        self.put("BackupKeyVault", "demo", merged(&minimal(), &json!({ "spec": spec }))).await
    }

    /// Its status.
    pub(crate) async fn status(&self) -> Value {
        self.get("BackupKeyVault", "demo").await.map_or(Value::Null, |o| o["status"].clone())
    }

    /// A condition of it: status, reason, message.
    pub(crate) async fn condition(&self, kind: &str) -> (String, String, String) {
        condition(&self.status().await, kind)
    }

    /// Waits until the condition has this status and reason; gives the message.
    pub(crate) async fn until(&self, kind: &str, status: &str, reason: &str) -> String {
        let what = format!("{kind} = {status} because {reason}");
        let found = self.eventually(&what, PATIENCE, async || {
            let found = self.condition(kind).await;
            if (found.0.as_str(), found.1.as_str()) == (status, reason) { Ok(found.2) } else { Err(found) }
        });
        found.await
    }

    /// Waits until the status waits for this; gives the wait.
    pub(crate) async fn until_waiting(&self, check: &str) -> Value {
        self.eventually(&format!("a wait for {check}"), PATIENCE, async || {
            let status = self.status().await;
            let waits = status["waits"].as_array().cloned().unwrap_or_default();
            waits.iter().find(|w| w["check"] == check).cloned().ok_or(waits)
        })
        .await
    }

    /// Waits for an object.
    pub(crate) async fn until_there(&self, kind: &str, name: &str) -> Value {
        self.eventually(&format!("{kind} {name}"), PATIENCE, async || {
            self.get(kind, name).await.ok_or("not there")
        })
        .await
    }

    /// Waits until it is gone.
    pub(crate) async fn until_gone(&self, kind: &str, name: &str) {
        self.eventually(&format!("no {kind} {name}"), PATIENCE, async || match self.get(kind, name).await {
            Some(object) => Err(object),
            None => Ok(()),
        })
        .await;
    }

    /// Waits until the operator waits for the first vault. A fleet gets no further here.
    pub(crate) async fn until_started(&self) {
        self.until_waiting("VaultStarting").await;
    }

    pub(crate) async fn eventually<T, E: Debug>(
        &self,
        what: &str,
        seconds: u64,
        look: impl AsyncFn() -> Result<T, E>,
    ) -> T {
        let late = Instant::now() + Duration::from_secs(seconds);
        loop {
            match look().await {
                Ok(found) => return found,
                Err(found) => assert!(Instant::now() < late, "no {what} within {seconds} s: {found:?}"),
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }

    /// The operator's requests so far.
    pub(crate) fn asked(&self) -> Vec<Request> {
        requests(self.server, &self.account.user)
    }

    /// Its writes, those of the lease left out.
    pub(crate) fn written(&self) -> Vec<Request> {
        self.asked().into_iter().filter(|r| r.writes() && r.resource != "leases").collect()
    }

    /// Reasons of the events about `demo`.
    pub(crate) async fn events(&self) -> Vec<String> {
        let all = self.all("Event").await;
        let ours = all.iter().filter(|e| e["regarding"]["kind"] == "BackupKeyVault");
        ours.map(|e| e["reason"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Creates a journal at this stage before the resource, so that the operator continues from it.
    pub(crate) async fn journal(&self, stage: &str) {
        let labels = json!({ "app.kubernetes.io/managed-by": "bkv-operator", "bkv.dev/vault": "demo" });
        let data = json!({
            "fleet": "00112233445566778899aabbccddeeff", "seed": "eu-west", "stage": stage, "pullPolicy": "IfNotPresent",
            "vaultImage": "registry.example/bkv-vault:1", "copierImage": "registry.example/bkv-copier:1",
        });
        self.put("ConfigMap", "demo-fleet", json!({ "metadata": { "labels": labels }, "data": data })).await;
    }

    /// Creates the journal of an initialised fleet and the PIN of its token, so that ChatD and everything else is planned.
    pub(crate) async fn made(&self) {
        self.journal("initialised").await;
        let labels = json!({ "app.kubernetes.io/managed-by": "bkv-operator", "bkv.dev/vault": "demo" });
        let pin = json!({ "metadata": { "labels": labels }, "stringData": { "pin": "123456789012" } });
        self.put("Secret", "demo-eu-west-pin", pin).await;
    }
}

pub(crate) fn condition(status: &Value, kind: &str) -> (String, String, String) {
    let all = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.iter().find(|c| c["type"] == kind).cloned().unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}
