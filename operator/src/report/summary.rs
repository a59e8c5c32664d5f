//! The whole status of one pass.

use super::finding::{Finding, merge};
use super::findings::findings;
use super::outcome::Outcome;
use super::regions::{quorum, regions};
use super::waits::{troubles, waits};
use crate::conditions::{Condition, Reason, Status};
use crate::decide::Verdict;
use crate::resource::BackupKeyVaultStatus;
use crate::resource::status::{ChatdStatus, FleetStatus, HsmStatus, OperationStatus, VersionStatus};
use crate::validate::{Fleet, RootCustody};
use crate::vaults::Answers;

/// Longest version in the status, characters: a vault in an attacker's region may report any text.
const VERSION: usize = 64;

/// The status after a pass. Everything that has not changed keeps its times.
///
/// `database`: whether ChatD reaches its database, None if no ChatD was asked. `version`: the operator's.
pub(super) fn status(
    before: &BackupKeyVaultStatus,
    p: &Outcome<'_>,
    database: Option<bool>,
    version: &str,
) -> BackupKeyVaultStatus {
    let troubles = troubles(&p.decision.waits, p.observed, &p.troubles);
    let (admission_number, policy_number) = p.numbers();
    let mut all = vec![Finding::of(Reason::Accepted, "the spec is valid")];
    all.extend(findings(before, p, &troubles, database));
    let ready = all.iter().any(|f| f.condition == Condition::Ready && f.status == Status::True);
    let q = quorum(p.fleet, p.answers);
    let phase = match p.decision.verdict {
        _ if p.fleet.paused => "Paused",
        Verdict::Lost => "FleetLost",
        Verdict::Contradiction => "Contradiction",
        Verdict::AwaitingSignature => "AwaitingSignature",
        Verdict::Bootstrapping(_) => "Bootstrapping",
        Verdict::Made if ready && q.in_sync == q.voters => "Ready",
        Verdict::Made if ready => "Degraded",
        Verdict::Made => "Unavailable",
    };
    BackupKeyVaultStatus {
        observed_generation: Some(p.fleet.generation),
        phase: Some(phase.to_owned()),
        conditions: merge(&before.conditions, all, Some(p.fleet.generation), &p.now),
        // If the journal does not parse, keep the previous id: it helps the person who restores the journal.
        fleet: p.journal.map_or_else(
            || before.fleet.clone(),
            |j| {
                Some(FleetStatus {
                    id: j.fleet.clone(),
                    root_custody: if p.fleet.root == RootCustody::InFleet { "InFleet" } else { "Offline" }
                        .to_owned(),
                    root_fingerprint: p.root_fingerprint(),
                    admission_number,
                    policy_number,
                })
            },
        ),
        quorum: Some(q),
        version: Some(VersionStatus { running: running(p.answers), operator: version.to_owned() }),
        regions: regions(p.fleet, (p.observed, p.answers), |region| p.applied.template_hash(p.fleet, region)),
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

fn running(answers: &Answers) -> Option<String> {
    let mut versions: Vec<&String> =
        answers.vaults.values().filter_map(|v| v.status.version.as_ref()).collect();
    versions.sort();
    versions.dedup();
    match versions.as_slice() {
        [] => None,
        [one] => Some(one.chars().take(VERSION).collect()),
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

fn operation(before: &BackupKeyVaultStatus, p: &Outcome<'_>) -> Option<OperationStatus> {
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
