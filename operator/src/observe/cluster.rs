//! Reads what the cluster has of a fleet.

use std::collections::BTreeMap;
use std::net::IpAddr;

use strum::VariantArray as _;

use super::observed::{Observed, Signed};
use crate::api_server::{
    Child, Children, ClaimSeen, ConfigMapStore, ObjectError, PodProblem, PodSeen, WorkloadSeen, bytes,
};
use crate::context::Context;
use crate::journal::Journal;
use crate::kinds::Kind;
use crate::paths::{JWKS_FILE, ROOT_FILE};
use crate::validate::{Fleet, JwksSource, KeyOf, ObjectNames, RootCustody};

/// Everything but the vaults' answers.
pub(crate) async fn cluster(context: &Context, fleet: &Fleet) -> Result<Observed, ObjectError> {
    let store = ConfigMapStore::of(&context.client, fleet);
    let journal_name = fleet.names().journal();
    let journal = match store.ours(&journal_name).await? {
        Some(map) => Journal::read(&journal_name, &map.data.unwrap_or_default()).map(Some),
        None => Ok(None),
    };
    let root = store.ours(&fleet.names().root()).await?.and_then(|m| bytes(&m, ROOT_FILE));
    let kept = store.ours(&fleet.names().documents()).await?;
    let kept = |key: &str| kept.as_ref().and_then(|m| bytes(m, key));
    let asked = store.ours(&fleet.names().ceremony_request()).await?;
    let (mut given_root, mut given) = (None, Signed::default());
    if let RootCustody::Offline { root, signed } = &fleet.root {
        given_root = store.any(&root.name).await?.and_then(|m| bytes(&m, &root.key));
        if let Some(map) = store.any(signed).await? {
            given = Signed { admission: bytes(&map, "admission"), policy: bytes(&map, "policy") };
        }
    }
    let (jwks, jwks_fault) = match &fleet.client_auth.jwks {
        JwksSource::ConfigMap(key) => {
            let found = store.any(&key.name).await?.and_then(|m| m.data?.get(&key.key).cloned());
            usable(key, found)
        }
        JwksSource::Url { .. } => (None, None),
    };
    let served_jwks = match jwks {
        Some(_) => None,
        None => store.any(&fleet.names().chatd()).await?.and_then(|m| m.data?.get(JWKS_FILE).cloned()),
    };
    let seen = Objects::of(&context.seen.children(&fleet.namespace, fleet.name.as_str())?, fleet.names());
    Ok(Observed {
        journal,
        root,
        given_root,
        documents: Signed { admission: kept("admission"), policy: kept("policy") },
        given,
        request: asked.and_then(|m| m.binary_data).into_iter().flatten().map(|(k, v)| (k, v.0)).collect(),
        jwks,
        jwks_fault,
        served_jwks,
        pods: seen.vaults,
        sets: seen.sets,
        chatd: seen.chatd,
        chatd_pods: seen.chatd_pods,
        postgres: seen.postgres,
        others: seen.others,
        claims: seen.claims,
        kinds: Kind::known(|kind| context.seen.knows(kind)),
        absent: Kind::VARIANTS.iter().filter_map(|k| Some((*k, context.seen.absence(*k)?))).collect(),
    })
}

/// The issuer's keys, if vaults can use them. Every vault would refuse a policy with unusable keys, and a signed policy can't be taken back.
fn usable(key: &KeyOf, found: Option<String>) -> (Option<String>, Option<String>) {
    let Some(text) = found else { return (None, None) };
    match bkv_tokens::keys::Keys::parse(text.as_bytes()) {
        Ok(_) => (Some(text), None),
        Err(e) => {
            let fault = format!(
                "ConfigMap {}, key `{}`: {e}: put the issuer's signing keys there, as its jwks_uri serves them",
                key.name, key.key
            );
            (None, Some(fault))
        }
    }
}

/// The objects of a fleet, sorted by what they are to it.
#[derive(Default)]
struct Objects {
    vaults: BTreeMap<String, PodSeen>,
    sets: BTreeMap<String, WorkloadSeen>,
    chatd: Option<WorkloadSeen>,
    chatd_pods: Vec<IpAddr>,
    postgres: Option<WorkloadSeen>,
    others: BTreeMap<String, PodProblem>,
    claims: Vec<ClaimSeen>,
}

impl Objects {
    fn of(children: &Children, names: ObjectNames<'_>) -> Self {
        let mut all = Self::default();
        for (name, seen) in children.values().flatten() {
            // The name must match too: an attacker who can label a pod could forge the label alone.
            let of_region = |region: &str, end: &str| *name == format!("{}-{region}{end}", names.fleet());
            let component = seen.component.as_deref().unwrap_or_default();
            match (&seen.child, &seen.region) {
                (Child::Pod(pod), Some(region)) if of_region(region, "-0") => {
                    all.vaults.insert(region.clone(), pod.clone());
                }
                (Child::Pod(pod), None) => {
                    if component == "chatd" && pod.running {
                        all.chatd_pods.extend(pod.address);
                    }
                    if let Some(problem) = &pod.problem {
                        all.others.insert(pod.name.clone(), problem.clone());
                    }
                }
                (Child::Set(set), Some(region)) if of_region(region, "") => {
                    all.sets.insert(region.clone(), set.clone());
                }
                (Child::Set(set), None) if component == "postgres" => all.postgres = Some(set.clone()),
                (Child::Deployment(d), _) if *name == names.chatd() => all.chatd = Some(d.clone()),
                (Child::Claim(claim), _) => all.claims.push(claim.clone()),
                (Child::Pod(_) | Child::Set(_) | Child::Deployment(_), _) => {}
            }
        }
        all
    }
}
