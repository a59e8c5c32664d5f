//! What the operator waits for: the decision's waits, and the troubles of pods, volumes and templates. Each names its object and a remedy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api_server::ClaimSeen;
use crate::conditions::{Check, Trouble};
use crate::observe::Observed;
use crate::resource::BackupKeyVaultStatus;
use crate::resource::status::WaitStatus;

/// A wait that lasts longer counts as stalled, seconds.
const PATIENCE: i64 = 600;

/// All troubles of a pass, the worst first, each check and target once.
pub(super) fn troubles(decided: &[Trouble], observed: &Observed, more: &[Trouble]) -> Vec<Trouble> {
    let mut all: Vec<Trouble> = more
        .iter()
        .cloned()
        .chain(decided.iter().cloned())
        .chain(of_pods(observed))
        .chain(of_claims(&observed.claims))
        .chain(of_templates(observed))
        .collect();
    // If a vault's pod can't start, report that and not also the silence of the vault.
    let explained: Vec<String> =
        observed.pods.iter().filter(|(_, p)| p.problem.is_some()).map(|(r, _)| r.clone()).collect();
    let unanswered = [Check::VaultStarting, Check::VaultSilent];
    all.retain(|t| !(unanswered.contains(&t.check) && explained.contains(&t.target)));
    all.sort_by(|a, b| (!a.hard(), a.check.name(), &a.target).cmp(&(!b.hard(), b.check.name(), &b.target)));
    all.dedup_by(|b, a| (a.check.name(), &a.target) == (b.check.name(), &b.target));
    // The schema's maxItems.
    all.truncate(16);
    all
}

fn of_pods(o: &Observed) -> impl Iterator<Item = Trouble> {
    let vaults = o.pods.values().filter_map(|p| Some((p.name.clone(), p.problem.clone()?)));
    let others = o.others.iter().map(|(name, p)| (name.clone(), p.clone()));
    let problems = vaults.chain(others).map(|(name, p)| Trouble::new(p.check, name, p.message));
    let missing = o.sets.iter().filter(|(_, s)| s.replicas > s.exist).map(|(region, _)| {
        Trouble::new(Check::PodMissing,
            region.clone(),
            format!("the StatefulSet of {region} has no pod: a quota or an admission rule may forbid it; run `kubectl describe statefulset`"),
        )
    });
    let failed = o
        .chatd
        .iter()
        .filter_map(|c| c.failure.clone())
        .map(|why| Trouble::new(Check::PodMissing, "chatd", why));
    problems.chain(missing).chain(failed).collect::<Vec<_>>().into_iter()
}

/// The operator never restarts vaults on its own: it names the pods that people must restart.
fn of_templates(o: &Observed) -> impl Iterator<Item = Trouble> {
    let behind = o.pods.iter().filter_map(|(region, pod)| {
        let wanted = o.sets.get(region)?.template_hash.as_ref()?;
        (pod.template_hash.as_ref()? != wanted && pod.running).then_some((region, pod))
    });
    behind
        .map(|(region, pod)| {
            let message = format!(
                "pod {} runs an older template than the spec asks for: delete it while every region is in sync, one region after another",
                pod.name
            );
            Trouble::new(Check::PodOutdated, region.clone(), message)
        })
        .collect::<Vec<_>>()
        .into_iter()
}

fn of_claims(claims: &[ClaimSeen]) -> impl Iterator<Item = Trouble> {
    let going = claims.iter().filter(|c| c.going && c.bound).map(|c| {
        let message = format!("somebody has deleted volume claim {}; it goes when its pod ends. If it is a vault's, the region's keys are on it: keep the pod running until you have saved what is on it. This release can't replace a member", c.name);
        Trouble::new(Check::VolumeGoing, c.name.clone(), message)
    });
    let open = claims.iter().filter(|c| !c.bound);
    let open = open.map(|c| {
        let class = c.class.as_deref().map_or("the cluster's default StorageClass (check that there is one)".to_owned(), |c| format!("StorageClass {c} (check that it exists)"));
        let message = format!("volume claim {} has no volume yet: {class} provides it once the pod has a node; run `kubectl describe pvc {}`", c.name, c.name);
        Trouble::new(Check::VolumePending, c.name.clone(), message)
    });
    going.chain(open).collect::<Vec<_>>().into_iter()
}

/// Troubles as the status lists them. A trouble that was there before keeps its time.
pub(super) fn waits(before: &BackupKeyVaultStatus, troubles: &[Trouble], now: &Time) -> Vec<WaitStatus> {
    troubles
        .iter()
        .map(|t| {
            let old = before.waits.iter().find(|w| w.check == t.check.name() && w.target == t.target);
            WaitStatus {
                check: t.check.name().to_owned(),
                target: t.target.clone(),
                message: t.message.chars().take(1_000).collect(),
                since: old.and_then(|w| w.since.clone()).or_else(|| Some(now.clone())),
            }
        })
        .collect()
}

/// The trouble was there before, for longer than the operator's patience.
pub(super) fn overdue(before: &BackupKeyVaultStatus, t: &Trouble, now: &Time) -> bool {
    let waits = before.waits.iter().filter(|w| w.check == t.check.name() && w.target == t.target);
    let mut since = waits.filter_map(|w| w.since.as_ref());
    since.any(|s| s.0.as_second().saturating_add(PATIENCE) < now.0.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_goes_is_reported_while_there_is_time() {
        let claim = |bound, going| ClaimSeen { name: "data-demo-a-0".into(), bound, class: None, going };
        let said =
            |bound, going| of_claims(&[claim(bound, going)]).map(|t| (t.check, t.hard())).collect::<Vec<_>>();
        assert_eq!(said(true, false), []);
        assert_eq!(said(false, false), [(Check::VolumePending, false)]);
        assert_eq!(said(true, true), [(Check::VolumeGoing, true)]);
    }
}
