//! Stage: report. What a pass has observed and applied becomes conditions, waits and numbers.

use std::collections::HashSet;

use bkv_wire::documents::{Root, admission, fingerprint, policy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::application::Applied;
use crate::conditions::{Reason, Trouble};
use crate::context::{Context, now};
use crate::decide::Decision;
use crate::journal::Journal;
use crate::observe::Observed;
use crate::resource::status::{CertificateStatus, WaitStatus};
use crate::resource::{BackupKeyVault, BackupKeyVaultStatus};
use crate::status::{Finding, Pass, merge, status};
use crate::validate::{Fleet, Refusal};

/// A wait that lasts longer counts as stalled, seconds.
const PATIENCE: i64 = 600;

/// What a pass has observed, decided and applied.
pub(super) struct Findings<'a> {
    pub observed: &'a Observed,
    pub decision: &'a Decision,
    pub journal: Option<&'a Journal>,
    pub troubles: &'a [Trouble],
    pub applied: &'a Applied,
    pub listed: &'a [CertificateStatus],
    pub database: Option<bool>,
    pub now: Time,
}

/// The status after it.
pub(super) fn after(
    context: &Context,
    fleet: &Fleet,
    before: &BackupKeyVaultStatus,
    s: Findings<'_>,
) -> BackupKeyVaultStatus {
    let root = s.observed.root.as_ref().and_then(|b| Root::decode(b).ok());
    let numbers = root.as_ref().map(|root| {
        let list = s.observed.documents.admission.as_ref().and_then(|b| admission(root, b, None).ok());
        let rules = s.observed.documents.policy.as_ref().and_then(|b| policy(root, b, None).ok());
        (list.map(|l| l.number), rules.map(|p| p.number))
    });
    let overdue = |w: &&WaitStatus| {
        w.since.as_ref().is_some_and(|t| t.0.as_second().saturating_add(PATIENCE) < s.now.0.as_second())
    };
    let templates = |region: &str| s.applied.template_hash(fleet, region);
    status(
        before,
        &Pass {
            fleet,
            observed: s.observed,
            decision: s.decision,
            journal: s.journal,
            troubles: s.troubles,
            certificates: s.listed,
            root_fingerprint: s.observed.root.as_ref().map(|b| fingerprint("root", b)),
            numbers: numbers.unwrap_or_default(),
            database: s.database,
            templates: &templates,
            overdue: before
                .waits
                .iter()
                .filter(overdue)
                .map(|w| (w.check.clone(), w.target.clone()))
                .collect::<HashSet<_>>(),
            version: &context.settings.version,
            now: s.now,
        },
    )
}

/// The status of a resource whose spec is refused. Its fleet stays as it is.
pub(super) fn refused(
    resource: &BackupKeyVault,
    before: &BackupKeyVaultStatus,
    refusals: &[Refusal],
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
        conditions: merge(&before.conditions, findings, generation, &Time(now())),
        waits: Vec::new(),
        ..before.clone()
    }
}
