//! Writes the status, also where the server's definition is older than this operator and lacks fields of it.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::EventType;
use serde_json::{Value, json};

use super::announce;
use super::world::World;
use crate::conditions::Condition;
use crate::labels::MANAGER;
use crate::resource::{BackupKeyVault, BackupKeyVaultStatus};

/// Fields of the status that come and go: a merge must name those that are to go.
const COME_AND_GO: [&str; 10] = [
    "phase",
    "conditions",
    "fleet",
    "quorum",
    "version",
    "regions",
    "hsm",
    "operation",
    "waits",
    "certificates",
];

/// Writes it; gives what the server has kept of it.
pub(super) async fn status(
    api: &Api<BackupKeyVault>,
    name: &str,
    status: &BackupKeyVaultStatus,
) -> kube::Result<BackupKeyVaultStatus> {
    let body = json!({
        "apiVersion": BackupKeyVault::api_version(&()),
        "kind": BackupKeyVault::kind(&()),
        "metadata": { "name": name },
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    let done = match api.patch_status(name, &params, &Patch::Apply(&body)).await {
        Err(kube::Error::Api(e)) if e.message.contains("not declared in schema") => {
            // An apply is refused as a whole; of a merge the server drops what it does not know.
            let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            api.patch_status(name, &params, &Patch::Merge(&json!({ "status": complete(status) }))).await
        }
        done => done,
    };
    done.map(|stored| stored.status.unwrap_or_default())
}

fn complete(status: &BackupKeyVaultStatus) -> Value {
    let mut value = json!(status);
    if let Some(fields) = value.as_object_mut() {
        for field in COME_AND_GO.into_iter().chain(["chatd"]) {
            fields.entry(field).or_insert(Value::Null);
        }
    }
    value
}

/// Says that the definition lacks fields.
pub(super) async fn about_the_definition(world: &World, about: &ObjectReference) {
    let words = "the resource definition is older than the operator and drops a part of the status: apply what `bkv-operator crd` prints";
    tracing::warn!(namespace = about.namespace, vault = about.name, "{words}");
    announce::publish(
        world,
        about,
        EventType::Warning,
        "DefinitionOutdated",
        Condition::Accepted.name(),
        words,
    )
    .await;
}
