//! Stage: report. What a pass observed, decided and applied becomes conditions, waits and numbers of the status, and metrics and events.
//!
//! `chatd_metrics`, `gateway`, `status_store`, `events` and `invalid_resource` do I/O. The other files are pure: the same input gives the same status, so a
//! pass in which nothing happened writes nothing.

mod absent_kinds;
mod chatd_metrics;
mod events;
mod finding;
mod findings;
mod gateway;
mod invalid_resource;
mod outcome;
mod partly_stored;
mod refused;
mod regions;
mod route_faults;
mod status_store;
mod summary;
mod unread;
mod waits;

#[cfg(test)]
mod parser_test;

pub(crate) use invalid_resource::invalid_resource;
pub(crate) use outcome::Outcome;
pub(crate) use partly_stored::{PartlyStoredStatus, last_reported_status};
pub(crate) use status_store::StatusError;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use crate::conditions::{Check, Trouble};
use crate::context::Context;
use crate::resource::{BackupKeyVault, BackupKeyVaultStatus};
use crate::validate::Refusal;

/// Reports a whole pass. Returns the status after it.
pub(crate) async fn report(
    context: &Context,
    resource: &BackupKeyVault,
    before: &BackupKeyVaultStatus,
    mut outcome: Outcome<'_>,
    partly_stored: Option<PartlyStoredStatus>,
) -> Result<(BackupKeyVaultStatus, Option<PartlyStoredStatus>), StatusError> {
    let (fleet, observed) = (outcome.fleet, outcome.observed);
    let jwks = observed.jwks_fault.clone();
    outcome.troubles.extend(jwks.map(|why| Trouble::new(Check::IssuerKeys, "clientAuth.jwks", why)));
    outcome.troubles.extend(absent_kinds::troubles(&observed.absent, fleet));
    outcome.troubles.extend(gateway::troubles(context, fleet, outcome.applied).await);
    let database = chatd_metrics::database_reached(context, fleet, observed).await;
    let after = summary::status(before, &outcome, database, &context.settings.version);
    let partly_stored = publish(context, resource, before, &after, partly_stored).await?;
    Ok((after, partly_stored))
}

/// Reports that the spec is refused.
pub(crate) async fn report_refused(
    context: &Context,
    resource: &BackupKeyVault,
    before: &BackupKeyVaultStatus,
    refusals: &[Refusal],
    (now, partly_stored): (Time, Option<PartlyStoredStatus>),
) -> Result<Option<PartlyStoredStatus>, StatusError> {
    let after = refused::status(resource, before, refusals, &now);
    publish(context, resource, before, &after, partly_stored).await
}

/// Reports that the fleet could not be observed.
pub(crate) async fn report_unread(
    context: &Context,
    resource: &BackupKeyVault,
    before: &BackupKeyVaultStatus,
    trouble: &Trouble,
    (now, partly_stored): (Time, Option<PartlyStoredStatus>),
) -> Result<Option<PartlyStoredStatus>, StatusError> {
    let generation = resource.metadata.generation.unwrap_or_default();
    let after = unread::status(before, generation, trouble, &now);
    publish(context, resource, before, &after, partly_stored).await
}

/// Shows a status in the metrics, and writes it if it differs. The metrics come first: they are right even if the status can't be written.
async fn publish(
    context: &Context,
    resource: &BackupKeyVault,
    before: &BackupKeyVaultStatus,
    after: &BackupKeyVaultStatus,
    partly_stored: Option<PartlyStoredStatus>,
) -> Result<Option<PartlyStoredStatus>, StatusError> {
    context.metrics.show(&resource.namespace().unwrap_or_default(), &resource.name_any(), after);
    status_store::write(context, resource, before, after, partly_stored).await
}
