//! Reads what is: ConfigMaps, workloads, pods, claims of one fleet, and what its vaults say.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde::de::DeserializeOwned;

use super::store::{Store, bytes, documents, request};
use super::world::{Certificates, Memory, World};
use crate::apply::ApplyError;
use crate::bootstrap::{Signed, Vault};
use crate::journal::Journal;
use crate::labels::{COMPONENT, REGION, VAULT};
use crate::observe::{Observed, PodSeen, claim_seen, deployment_seen, pod_seen, stateful_set_seen};
use crate::validate::{Fleet, JwksSource, RootCustody};
use crate::vaults::VaultClient;

async fn list<K>(world: &World, fleet: &Fleet) -> Result<Vec<K>, ApplyError>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
    <K as kube::Resource>::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(world.client.clone(), &fleet.namespace);
    let ours = ListParams::default().labels(&format!("{VAULT}={}", fleet.name));
    let kind = std::any::type_name::<K>().rsplit("::").next().unwrap_or("object");
    let found = api.list(&ours).await.map_err(|e| ApplyError::of(kind, "(list)", e))?;
    Ok(found.items)
}

/// Everything but the vaults' words.
pub(super) async fn cluster(world: &World, fleet: &Fleet) -> Result<Observed, ApplyError> {
    let store = Store::of(world, fleet);
    let name = fleet.name.as_str();
    let journal_name = Journal::name(name);
    let journal = match store.ours(&journal_name).await? {
        Some(map) => Journal::read(&journal_name, &map.data.unwrap_or_default()).map(Some),
        None => Ok(None),
    };
    let root = store.ours(&fleet.names().root()).await?.and_then(|m| bytes(&m, "root.bin"));
    let kept = store.ours(&documents(name)).await?;
    let kept = |key: &str| kept.as_ref().and_then(|m| bytes(m, key));
    let asked = store.ours(&request(name)).await?;
    let (mut given_root, mut given) = (None, Signed::default());
    if let RootCustody::Offline { root, signed } = &fleet.root {
        given_root = store.any(&root.name).await?.and_then(|m| bytes(&m, &root.key));
        if let Some(map) = store.any(signed).await? {
            given = Signed { admission: bytes(&map, "admission"), policy: bytes(&map, "policy") };
        }
    }
    let jwks = match &fleet.client_auth.jwks {
        JwksSource::ConfigMap(key) => {
            store.any(&key.name).await?.and_then(|m| m.data?.get(&key.key).cloned())
        }
        JwksSource::Url { .. } => None,
    };
    let served_jwks = match jwks {
        Some(_) => None,
        None => store.any(&fleet.names().chatd()).await?.and_then(|m| m.data?.get("jwks.json").cloned()),
    };
    let (pods, sets) = (list::<Pod>(world, fleet).await?, list::<StatefulSet>(world, fleet).await?);
    let deployments = list::<Deployment>(world, fleet).await?;
    let claims = list::<PersistentVolumeClaim>(world, fleet).await?;
    let region = |labels: &BTreeMap<String, String>| labels.get(REGION).cloned();
    let names = fleet.names();
    let seen: Vec<(Option<String>, PodSeen)> =
        pods.iter().map(|p| (region(p.labels()), pod_seen(p))).collect();
    let is_chatd = |p: &&Pod| p.labels().get(COMPONENT).is_some_and(|c| c == "chatd");
    let chatd_pods =
        pods.iter().filter(is_chatd).map(pod_seen).filter(|p| p.running).filter_map(|p| p.address);
    let others = seen
        .iter()
        .filter(|(r, _)| r.is_none())
        .filter_map(|(_, p)| Some((p.name.clone(), p.problem.clone()?)));
    Ok(Observed {
        journal,
        root,
        given_root,
        documents: Signed { admission: kept("admission"), policy: kept("policy") },
        given,
        request: asked.and_then(|m| m.binary_data).into_iter().flatten().map(|(k, v)| (k, v.0)).collect(),
        jwks,
        served_jwks,
        others: others.collect(),
        // By its name too: a label alone is soon forged.
        pods: seen
            .into_iter()
            .filter_map(|(r, p)| Some((r?, p)))
            .filter(|(r, p)| p.name == format!("{name}-{r}-0"))
            .collect(),
        sets: sets.iter().filter_map(|s| Some((region(s.labels())?, stateful_set_seen(s)))).collect(),
        chatd: deployments.iter().find(|d| d.name_any() == names.chatd()).map(deployment_seen),
        chatd_pods: chatd_pods.collect(),
        postgres: sets
            .iter()
            .find(|s| s.labels().get(COMPONENT).is_some_and(|c| c == "postgres"))
            .map(stateful_set_seen),
        claims: claims.iter().map(claim_seen).collect(),
        vaults: BTreeMap::new(),
        silent: BTreeMap::new(),
    })
}

/// Asks every vault whose pod runs, all at once.
pub(super) async fn vaults(
    fleet: &Fleet,
    certificates: &Arc<Certificates>,
    memory: &mut Memory,
    o: &mut Observed,
) {
    let mut asked = Vec::new();
    for region in &fleet.regions {
        let name = region.name.as_str();
        let Some(pod) = o.pods.get(name).filter(|p| p.running) else {
            memory.clients.remove(name);
            continue;
        };
        let Some(address) = pod.address else { continue };
        let mark = format!("{}/{address}/{}", pod.uid, certificates.mark);
        let known = memory.clients.get(name).filter(|(m, _)| *m == mark).map(|(_, c)| c.clone());
        let client =
            match known.map_or_else(|| VaultClient::new(name, address, certificates.identity.clone()), Ok) {
                Ok(client) => client,
                Err(e) => {
                    o.silent.insert(name.to_owned(), e.to_string());
                    continue;
                }
            };
        memory.clients.insert(name.to_owned(), (mark, client.clone()));
        let token = memory.tokens.get(name).filter(|(uid, _)| *uid == pod.uid).map(|(_, t)| t.clone());
        let uid = pod.uid.clone();
        asked.push(async move {
            let status = client.status().await;
            let token = match (&status, token) {
                (Ok(_), None) => client.token().await.ok(),
                (_, token) => token,
            };
            (name.to_owned(), uid, status, token)
        });
    }
    for (name, uid, status, token) in join_all(asked).await {
        match status {
            Ok(status) if status.region != name || token.as_ref().is_some_and(|t| t.region != name) => {
                o.silent.insert(name, format!("the vault says that it is of region {}", status.region));
            }
            Ok(status) => {
                if let Some(token) = &token {
                    memory.tokens.insert(name.clone(), (uid, token.clone()));
                }
                o.vaults.insert(name, Vault { status, token });
            }
            Err(e) => {
                o.silent.insert(name, e.to_string());
            }
        }
    }
}
