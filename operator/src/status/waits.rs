//! What is waited for: the decision's waits, and what pods, volumes, Secrets and the API server say. Each names its object and a remedy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::conditions::{Check, Trouble};
use crate::observe::{ClaimSeen, Observed};
use crate::resource::BackupKeyVaultStatus;
use crate::resource::status::WaitStatus;

/// All troubles of a pass, the worst first, each check and target once.
pub fn troubles(decided: &[Trouble], observed: &Observed, more: &[Trouble]) -> Vec<Trouble> {
    let mut all: Vec<Trouble> = more
        .iter()
        .cloned()
        .chain(decided.iter().cloned())
        .chain(of_pods(observed))
        .chain(of_claims(&observed.claims))
        .chain(of_templates(observed))
        .collect();
    // A vault that does not answer because its pod can't start needs only the one word.
    let explained: Vec<String> =
        observed.pods.iter().filter(|(_, p)| p.problem.is_some()).map(|(r, _)| r.clone()).collect();
    let unanswered = [Check::VaultStarting, Check::VaultSilent];
    all.retain(|t| !(unanswered.contains(&t.check) && explained.contains(&t.target)));
    all.sort_by(|a, b| (!a.hard(), a.check.name(), &a.target).cmp(&(!b.hard(), b.check.name(), &b.target)));
    all.dedup_by(|b, a| (a.check.name(), &a.target) == (b.check.name(), &b.target));
    // As many as the schema takes.
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
            format!("the StatefulSet of {region} has no pod: a quota or an admission rule may forbid it; `kubectl describe statefulset` says which"),
        )
    });
    let failed = o
        .chatd
        .iter()
        .filter_map(|c| c.failure.clone())
        .map(|why| Trouble::new(Check::PodMissing, "chatd", why));
    problems.chain(missing).chain(failed).collect::<Vec<_>>().into_iter()
}

/// Vaults are not restarted on the operator's own account: who must is told so.
fn of_templates(o: &Observed) -> impl Iterator<Item = Trouble> {
    let behind = o.pods.iter().filter_map(|(region, pod)| {
        let wanted = o.sets.get(region)?.template_hash.as_ref()?;
        (pod.template_hash.as_ref()? != wanted && pod.running).then_some((region, pod))
    });
    behind
        .map(|(region, pod)| {
            let message = format!(
                "pod {} runs an older template than the spec asks for: delete it once every region is in sync, one region after another",
                pod.name
            );
            Trouble::new(Check::PodOutdated, region.clone(), message)
        })
        .collect::<Vec<_>>()
        .into_iter()
}

fn of_claims(claims: &[ClaimSeen]) -> impl Iterator<Item = Trouble> {
    let going = claims.iter().filter(|c| c.going && c.bound).map(|c| {
        let message = format!("volume claim {} is being deleted and goes with its pod. If it is a vault's, its region's keys lie on it: do not restart that pod before what is on it was saved; replacing a member comes with a later release", c.name);
        Trouble::new(Check::VolumeGoing, c.name.clone(), message)
    });
    let open = claims.iter().filter(|c| !c.bound);
    let open = open.map(|c| {
        let class = c.class.as_deref().map_or("the cluster's default StorageClass (is there one?)".to_owned(), |c| format!("StorageClass {c} (is there one of that name?)"));
        let message = format!("volume claim {} has no volume yet: {class} makes it when its pod finds a node; `kubectl describe pvc {}` says more", c.name, c.name);
        Trouble::new(Check::VolumePending, c.name.clone(), message)
    });
    going.chain(open).collect::<Vec<_>>().into_iter()
}

/// Troubles as the status tells them: one that was there before keeps its time.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_goes_is_said_while_there_is_time() {
        let claim = |bound, going| ClaimSeen { name: "data-demo-a-0".into(), bound, class: None, going };
        let said =
            |bound, going| of_claims(&[claim(bound, going)]).map(|t| (t.check, t.hard())).collect::<Vec<_>>();
        assert_eq!(said(true, false), []);
        assert_eq!(said(false, false), [(Check::VolumePending, false)]);
        assert_eq!(said(true, true), [(Check::VolumeGoing, true)]);
    }
}
