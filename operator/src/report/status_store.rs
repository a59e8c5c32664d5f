//! Writes the status. If the server's definition is older than this operator, the server drops a part of it.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::EventType;
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::events;
use super::partly_stored::PartlyStoredStatus;
use crate::conditions::Condition;
use crate::context::Context;
use crate::labels::MANAGER;
use crate::resource::{BackupKeyVault, BackupKeyVaultStatus};

/// The status can't be written.
#[derive(Debug, thiserror::Error)]
#[error("the status can't be written")]
pub(crate) struct StatusError(#[source] kube::Error);

/// Optional fields of the status. A merge must name those that it removes.
const OPTIONAL_FIELDS: [&str; 10] = [
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

/// Publishes events about what is new, and writes the status if it differs. The events come first: the next pass compares with the stored status, so after a crash in between
/// it publishes them again. Otherwise it would never publish them. The recorder counts a repeated event instead of making another one.
pub(super) async fn write(
    context: &Context,
    resource: &BackupKeyVault,
    before: &BackupKeyVaultStatus,
    after: &BackupKeyVaultStatus,
    partly_stored: Option<PartlyStoredStatus>,
) -> Result<Option<PartlyStoredStatus>, StatusError> {
    if before == after {
        return Ok(partly_stored);
    }
    let namespace = resource.namespace().unwrap_or_default();
    let api: Api<BackupKeyVault> = Api::namespaced(context.client.clone(), &namespace);
    let about = resource.object_ref(&());
    events::changes(context, &about, before, after).await;
    let kept = patch(&api, &resource.name_any(), after).await.map_err(StatusError)?;
    let complete = kept == *after;
    if !complete && partly_stored.is_none() {
        report_definition(context, &about).await;
    }
    Ok((!complete).then(|| PartlyStoredStatus::new(after, kept, Instant::now())))
}

/// Returns what the server has kept.
async fn patch(
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
            // The server refuses such an apply as a whole. From a merge it drops the unknown fields.
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
        for field in OPTIONAL_FIELDS.into_iter().chain(["chatd"]) {
            fields.entry(field).or_insert(Value::Null);
        }
    }
    value
}

/// Logs and publishes that the definition lacks fields.
async fn report_definition(context: &Context, about: &ObjectReference) {
    let message = "the resource definition is older than the operator and drops a part of the status: apply the output of `bkv-operator crd`";
    tracing::warn!(namespace = about.namespace, vault = about.name, "{message}");
    let condition = Condition::Accepted.name();
    events::publish(context, about, EventType::Warning, "DefinitionOutdated", condition, message).await;
}
