//! The state of each region, and the quorum. Numbers that change at each pass (leaders, lag) are metrics.

use crate::observe::Observed;
use crate::resource::status::{QuorumStatus, RegionHsmStatus, RegionStatus};
use crate::validate::Fleet;
use crate::vaults::{Answers, Phase, VaultStatus};

/// Longest fingerprint in the status, characters. A vault in an attacker's region could otherwise fill the status until the API server refuses it.
const FINGERPRINT: usize = 200;

/// Each region, in the order of the spec.
pub(super) fn regions(
    fleet: &Fleet,
    (observed, answers): (&Observed, &Answers),
    planned: impl Fn(&str) -> Option<String>,
) -> Vec<RegionStatus> {
    fleet
        .regions
        .iter()
        .map(|r| {
            let name = r.name.as_str();
            let (pod, vault) = (observed.pods.get(name), answers.vaults.get(name));
            let quarantined = vault.is_some_and(|v| {
                v.status.shards.iter().any(|s| matches!(s.phase, Phase::Quarantined(_) | Phase::Halted(_)))
            });
            let left_behind = vault
                .is_some_and(|v| v.status.shards.iter().any(|s| matches!(s.phase, Phase::LeftBehind(_))));
            let phase = match (pod, vault) {
                (None, _) => "Pending",
                _ if quarantined => "Quarantined",
                _ if left_behind => "LeftBehind",
                (_, Some(v)) if v.status.ready => "Voter",
                (_, Some(v)) if v.status.admission.is_none() => "AwaitingAdmission",
                (_, Some(_)) => "Joining",
                (Some(p), None) if p.running && p.problem.is_none() => "Unreachable",
                (Some(_), None) => "Starting",
            };
            let message = pod.and_then(|p| p.problem.as_ref()).map(|p| p.message.clone());
            RegionStatus {
                name: name.to_owned(),
                phase: phase.to_owned(),
                ready: vault.is_some_and(|v| v.status.ready),
                template_hash: planned(name),
                applied_template_hash: pod.and_then(|p| p.template_hash.clone()),
                hsm: vault.map(|v| RegionHsmStatus {
                    capabilities: capabilities(&v.status),
                    rollback_protection: v.status.rollback_protection.name().map(str::to_owned),
                    identity_fingerprint: v.token.as_ref().and_then(|t| {
                        Some(t.fingerprints.identity.as_ref()?.chars().take(FINGERPRINT).collect())
                    }),
                }),
                message: message.map(|m| m.chars().take(1_000).collect()),
            }
        })
        .collect()
}

/// Each capability once, as often as the vault may list it.
fn capabilities(status: &VaultStatus) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in status.capabilities.iter().flatten().map(|c| c.name()) {
        if !all.iter().any(|known| known == name) {
            all.push(name.to_owned());
        }
    }
    all
}

/// The quorum: voters, how many are in sync, how many more the fleet can lose.
pub(super) fn quorum(fleet: &Fleet, answers: &Answers) -> QuorumStatus {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let voters = fleet.regions.len();
    let in_sync = fleet
        .regions
        .iter()
        .filter(|r| answers.vaults.get(r.name.as_str()).is_some_and(|v| v.status.ready))
        .count();
    let required = voters / 2 + 1;
    QuorumStatus {
        voters: count(voters),
        required: count(required),
        in_sync: count(in_sync),
        tolerates: count(in_sync.saturating_sub(required)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vaults::Capability;

    #[test]
    fn s38_a_vault_can_not_fill_the_status_with_capabilities() {
        let status = VaultStatus {
            capabilities: Some([Capability::EcdsaP256, Capability::Unknown].repeat(10_000)),
            ..VaultStatus::default()
        };
        assert_eq!(capabilities(&status), ["EcdsaP256", "Unknown"]);
    }
}
