//! The whole status of one pass.

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{self as c, Finding, merge};
use super::findings::findings;
use super::regions::{quorum, regions};
use super::waits::{Trouble, troubles, waits};
use crate::bootstrap::{Decision, Verdict};
use crate::journal::Journal;
use crate::observe::Observed;
use crate::resource::BackupKeyVaultStatus;
use crate::resource::status::{
    CertificateStatus, ChatdStatus, FleetStatus, HsmStatus, OperationStatus, VersionStatus,
};
use crate::validate::{Fleet, RootCustody};

/// What a pass saw and did.
pub struct Pass<'a> {
    /// What was asked for.
    pub fleet: &'a Fleet,
    /// What is.
    pub observed: &'a Observed,
    /// What was decided.
    pub decision: &'a Decision,
    /// The journal as it is now.
    pub journal: Option<&'a Journal>,
    /// What could not be done, and what is missing.
    pub troubles: &'a [Trouble],
    /// Every certificate.
    pub certificates: &'a [CertificateStatus],
    /// Fingerprint of the published root.
    pub root_fingerprint: Option<String>,
    /// Numbers of the documents in force.
    pub numbers: (Option<u64>, Option<u64>),
    /// Does ChatD reach its database? None: it was not asked.
    pub database: Option<bool>,
    /// Hash of each region's pod template as planned.
    pub templates: &'a dyn Fn(&str) -> Option<String>,
    /// Waits that have lasted longer than they may: check and target.
    pub overdue: HashSet<(String, String)>,
    /// The operator's version.
    pub version: &'a str,
    /// Now.
    pub now: Time,
}

impl Pass<'_> {
    /// Is a certificate past the point at which it should have been renewed? One that is issued for less than the margin is not late by itself.
    pub(super) fn renewal_is_late(&self, certificate: &CertificateStatus) -> bool {
        use crate::validate::Tls;
        let (Tls::Builtin { leaf_validity, .. } | Tls::CertManager { leaf_validity, .. }) = &self.fleet.tls;
        let life = i64::try_from(leaf_validity.as_secs()).unwrap_or(i64::MAX);
        let left = certificate.not_after.0.as_second().saturating_sub(self.now.0.as_second());
        certificate.kind == "Authority" || left < life / 6
    }
}

/// The status, given the one before: what has not changed keeps its times.
pub fn status(before: &BackupKeyVaultStatus, p: &Pass<'_>) -> BackupKeyVaultStatus {
    let troubles = troubles(&p.decision.waits, p.observed, p.troubles);
    let mut all = vec![Finding::yes(c::ACCEPTED, "Accepted", "the spec can be carried out")];
    all.extend(findings(p, &troubles));
    let is = |kind: &str| all.iter().any(|f| f.kind == kind && f.status == "True");
    let q = quorum(p.fleet, p.observed);
    let phase = match p.decision.verdict {
        _ if p.fleet.paused => "Paused",
        Verdict::Lost => "FleetLost",
        Verdict::Contradiction => "Contradiction",
        Verdict::AwaitingSignature => "AwaitingSignature",
        Verdict::Bootstrapping(_) => "Bootstrapping",
        Verdict::Made if is(c::READY) && q.in_sync == q.voters => "Ready",
        Verdict::Made if is(c::READY) => "Degraded",
        Verdict::Made => "Unavailable",
    };
    BackupKeyVaultStatus {
        observed_generation: Some(p.fleet.generation),
        phase: Some(phase.to_owned()),
        conditions: merge(&before.conditions, all, Some(p.fleet.generation), &p.now),
        // Where the journal does not read, the id that was said before helps whoever restores it.
        fleet: p.journal.map_or_else(
            || before.fleet.clone(),
            |j| {
                Some(FleetStatus {
                    id: j.fleet.clone(),
                    root_custody: if p.fleet.root == RootCustody::InFleet { "InFleet" } else { "Offline" }
                        .to_owned(),
                    root_fingerprint: p.root_fingerprint.clone(),
                    admission_number: p.numbers.0,
                    policy_number: p.numbers.1,
                })
            },
        ),
        quorum: Some(q),
        version: Some(VersionStatus { running: running(p.observed), operator: p.version.to_owned() }),
        regions: regions(p.fleet, p.observed, p.templates),
        hsm: Some(HsmStatus { kind: kind(p.fleet) }),
        operation: operation(before, p),
        waits: waits(before, &troubles, &p.now),
        certificates: p.certificates.iter().take(32).cloned().collect(),
        chatd: p.observed.chatd.as_ref().map(|d| ChatdStatus {
            address: format!("https://{}.{}.svc", p.fleet.names().chatd(), p.fleet.namespace),
            ready_replicas: d.ready,
            replicas: d.replicas,
        }),
    }
}

fn running(o: &Observed) -> Option<String> {
    let mut versions: Vec<&String> = o.vaults.values().filter_map(|v| v.status.version.as_ref()).collect();
    versions.sort();
    versions.dedup();
    match versions.as_slice() {
        [] => None,
        [one] => Some((*one).clone()),
        _ => Some("mixed".to_owned()),
    }
}

fn kind(fleet: &Fleet) -> String {
    let mut kinds: Vec<&str> = fleet.regions.iter().map(|r| r.hsm.kind()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    match kinds.as_slice() {
        [one] => (*one).to_owned(),
        _ => "mixed".to_owned(),
    }
}

fn operation(before: &BackupKeyVaultStatus, p: &Pass<'_>) -> Option<OperationStatus> {
    let step = match p.decision.verdict {
        Verdict::Bootstrapping(step) => step,
        Verdict::AwaitingSignature => "Signatures",
        _ => return None,
    };
    let same = before.operation.as_ref().filter(|o| o.step == step);
    Some(OperationStatus {
        id: p.journal.map(|j| j.fleet.clone()).unwrap_or_default(),
        kind: "Bootstrap".to_owned(),
        step: step.to_owned(),
        since: same.and_then(|o| o.since.clone()).or_else(|| Some(p.now.clone())),
    })
}
