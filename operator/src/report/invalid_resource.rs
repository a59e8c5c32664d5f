//! A resource that this release can't parse. The operator reports that in its status and does not touch its fleet.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::error_boundary::InvalidObject;
use kube::core::{ApiResource, Resource as _};
use serde_json::json;

use super::finding::{Finding, merge};
use crate::conditions::Reason;
use crate::context::now;
use crate::labels::MANAGER;
use crate::resource::BackupKeyVault;

/// Writes the status of such a resource.
pub(crate) async fn invalid_resource(client: Client, odd: InvalidObject) {
    let (place, name) = (odd.metadata.namespace.unwrap_or_default(), odd.metadata.name.unwrap_or_default());
    let message = format!(
        "this release of the operator can't parse the resource: {}; remove that field or value, or run the operator release that the definition came from",
        odd.error
    );
    tracing::warn!(
        namespace = place,
        vault = name,
        error = odd.error,
        "can't parse the resource; its fleet stays as it is"
    );
    let findings = vec![
        Finding::of(Reason::Unreadable, message.clone()),
        Finding::of(
            Reason::ReadyUnreadable,
            "the operator leaves the fleet as it is and does not observe it",
        ),
        Finding::of(Reason::StalledUnreadable, message),
    ];
    let conditions = merge(&[], findings, odd.metadata.generation, &Time(now()));
    let status = json!({ "observedGeneration": odd.metadata.generation, "phase": "Refused", "conditions": conditions });
    let body = json!({
        "apiVersion": BackupKeyVault::api_version(&()),
        "kind": BackupKeyVault::kind(&()),
        "metadata": { "name": name },
        "status": status,
    });
    let api: Api<DynamicObject> =
        Api::namespaced_with(client, &place, &ApiResource::erase::<BackupKeyVault>(&()));
    let params = PatchParams::apply(MANAGER).force();
    if let Err(e) = api.patch_status(&name, &params, &Patch::Apply(&body)).await {
        tracing::warn!(namespace = place, vault = name, error = %e, "can't write the status");
    }
}
