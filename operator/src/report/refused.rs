//! The status of a resource whose spec is refused. Its fleet stays as it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::finding::{Finding, merge};
use crate::conditions::Reason;
use crate::resource::{BackupKeyVault, BackupKeyVaultStatus};
use crate::validate::Refusal;

/// The status, given the one before.
pub(super) fn status(
    resource: &BackupKeyVault,
    before: &BackupKeyVaultStatus,
    refusals: &[Refusal],
    now: &Time,
) -> BackupKeyVaultStatus {
    let messages: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    let reason = refusals.first().map_or(Reason::InvalidValue, |r| r.reason);
    let message = messages.join("; ");
    let findings = vec![
        Finding::of(reason, message.clone()),
        Finding::of(Reason::Refused, "the spec is refused: the fleet is left as it is"),
        Finding::of(Reason::ReconcilingRefused, "the operator changes nothing until the spec is valid"),
        Finding::stalled(reason, message),
    ];
    let generation = resource.metadata.generation;
    BackupKeyVaultStatus {
        observed_generation: generation,
        phase: Some("Refused".to_owned()),
        conditions: merge(&before.conditions, findings, generation, now),
        waits: Vec::new(),
        ..before.clone()
    }
}
