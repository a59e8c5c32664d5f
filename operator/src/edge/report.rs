//! The status: what a pass has found becomes conditions, waits and numbers, and is written if it differs.

use std::collections::HashSet;
use std::sync::Arc;

use bkv_wire::documents::{Root, admission, fingerprint, policy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::Api;
use kube::{Resource as _, ResourceExt as _};
use tokio::time::Instant;

use super::announce;
use super::planned::template_hash;
use super::reconcile::PassError;
use super::tell;
use super::world::{Dropped, Memory, World, now};
use crate::bootstrap::Decision;
use crate::conditions::{Reason, Trouble};
use crate::journal::Journal;
use crate::observe::Observed;
use crate::plan::Object;
use crate::resource::status::{CertificateStatus, WaitStatus};
use crate::resource::{BackupKeyVault, BackupKeyVaultStatus};
use crate::status::{Finding, Pass, merge, status};
use crate::validate::{Fleet, Refusal};

/// A wait that lasts longer is a stall, seconds.
const PATIENCE: i64 = 600;

/// What a pass has seen.
pub(super) struct Seen<'a> {
    pub observed: &'a Observed,
    pub decision: &'a Decision,
    pub journal: Option<&'a Journal>,
    pub troubles: &'a [Trouble],
    pub planned: &'a [Object],
    pub listed: &'a [CertificateStatus],
    pub database: Option<bool>,
    pub now: Time,
}

/// The status after it.
pub(super) fn after(
    world: &World,
    fleet: &Fleet,
    before: &BackupKeyVaultStatus,
    s: Seen<'_>,
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
    let templates = |region: &str| template_hash(s.planned, fleet, region);
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
            version: &world.settings.version,
            now: s.now,
        },
    )
}

/// A spec that can't be carried out is a condition, and nothing is touched.
pub(super) fn refused(
    resource: &BackupKeyVault,
    before: &BackupKeyVaultStatus,
    refusals: &[Refusal],
) -> BackupKeyVaultStatus {
    let words: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    let reason = refusals.first().map_or(Reason::InvalidValue, |r| r.reason);
    let words = words.join("; ");
    let findings = vec![
        Finding::of(reason, words.clone()),
        Finding::of(Reason::Refused, "the spec is refused: the fleet is left as it is"),
        Finding::of(Reason::ReconcilingRefused, "the operator changes nothing until the spec is valid"),
        Finding::stalled(reason, words),
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

/// Writes it, and tells of what is new.
pub(super) async fn write(
    world: &World,
    resource: &BackupKeyVault,
    before: &BackupKeyVaultStatus,
    after: &BackupKeyVaultStatus,
    memory: &mut Memory,
) -> Result<(), PassError> {
    if before == after {
        return Ok(());
    }
    let namespace = resource.namespace().unwrap_or_default();
    let api: Api<BackupKeyVault> = Api::namespaced(world.client.clone(), &namespace);
    let kept = tell::status(&api, &resource.name_any(), after).await.map_err(PassError::Status)?;
    if kept == *after {
        memory.dropped = None;
    } else {
        if memory.dropped.is_none() {
            tell::about_the_definition(world, &resource.object_ref(&())).await;
        }
        memory.dropped = Some(Arc::new(Dropped { at: Instant::now(), kept, given: after.clone() }));
    }
    announce::changes(world, &resource.object_ref(&()), before, after).await;
    Ok(())
}
