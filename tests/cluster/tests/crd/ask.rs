//! Asks the API server whether it accepts an object. Nothing is stored.

use std::collections::BTreeSet;

use bkv_cluster_tests::ApiServer;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::core::Status;
use serde_json::Value;

/// Why an object was refused: field and message. Lists and maps are written as in the schema, `[]`.
pub(crate) type Refusal = BTreeSet<(String, String)>;

const REMARK: &str = "some validation rules were not checked because the object was invalid";

/// Vaults of the namespace `default`.
pub(crate) async fn vaults(server: &ApiServer) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("bkv.dev", "v1alpha1", "BackupKeyVault");
    let resource = ApiResource::from_gvk_with_plural(&kind, "backupkeyvaults");
    Api::namespaced_with(server.client().await, "default", &resource)
}

/// A dry run: the server makes all its checks and stores nothing.
pub(crate) fn dry() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

pub(crate) fn object(value: &Value) -> DynamicObject {
    serde_json::from_value(value.clone()).expect("an object")
}

/// Creates an object as a dry run.
pub(crate) async fn create(vaults: &Api<DynamicObject>, value: &Value) -> Result<(), Refusal> {
    vaults.create(&dry(), &object(value)).await.map(drop).map_err(refusal)
}

/// The causes of a refusal, without the server's note that it did not evaluate some rules.
pub(crate) fn refusal(error: kube::Error) -> Refusal {
    let kube::Error::Api(status) = error else { panic!("no answer of the API server: {error:?}") };
    let causes = status.details.as_ref().map(|d| d.causes.clone()).unwrap_or_default();
    let found: Refusal = causes
        .into_iter()
        .filter(|c| !c.message.contains(REMARK))
        .map(|c| (in_schema(&c.field), c.message))
        .collect();
    assert!(!found.is_empty(), "refused without a cause: {status:?}");
    assert!(is_invalid(&status), "refused for another reason: {status:?}");
    found
}

fn is_invalid(status: &Status) -> bool {
    status.reason == "Invalid"
}

/// `spec.regions[0].name` → `spec.regions[].name`
fn in_schema(field: &str) -> String {
    if field == "<nil>" {
        return String::new(); // the object itself
    }
    let mut path = String::new();
    let mut inside = false;
    for c in field.chars() {
        match c {
            '[' => (inside, path) = (true, path + "[]"),
            ']' => inside = false,
            _ if inside => {}
            _ => path.push(c),
        }
    }
    path
}
