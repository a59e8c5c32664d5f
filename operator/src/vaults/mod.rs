//! Stage: vaults. Asks each vault for its status and its token, at the administration port of its pod. Types and client come from `bkv-admin-api`.
//!
//! This file does I/O.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bkv_mtls::Identity;
use futures_util::future::join_all;

use crate::api_server::PodSeen;
use crate::certificates::Certificates;
use crate::plan::ADMIN;
use crate::validate::Fleet;

#[cfg(test)]
pub(crate) use bkv_admin_api::{Capability, Fingerprints};
pub(crate) use bkv_admin_api::{Phase, TokenHealth, VaultClient, VaultError, VaultStatus, VaultToken};

/// A vault that answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vault {
    /// Its status.
    pub status: VaultStatus,
    /// The public parts of its keys. None while its token does not answer.
    pub token: Option<VaultToken>,
}

/// What the vaults answered in this pass, by region.
#[derive(Default, Debug)]
pub(crate) struct Answers {
    /// The vaults that answer.
    pub vaults: BTreeMap<String, Vault>,
    /// Why the other vaults whose pods run do not answer.
    pub silent: BTreeMap<String, String>,
}

/// Connections and tokens that are used again in the next pass, by region.
#[derive(Default, Clone)]
pub(crate) struct Connections {
    /// Public parts, with the uid of the pod that gave them: a pod that is replaced is asked again.
    tokens: HashMap<String, (String, VaultToken)>,
    /// Clients, with the pod and the certificate that they were made with.
    clients: HashMap<String, (String, VaultClient)>,
}

impl Connections {
    pub(crate) fn client(&self, region: &str) -> Option<VaultClient> {
        self.clients.get(region).map(|(_, client)| client.clone())
    }
}

/// Asks every vault whose pod runs, all at once. Without certificates no vault is asked.
pub(crate) async fn ask(
    fleet: &Fleet,
    pods: &BTreeMap<String, PodSeen>,
    certificates: Option<&Certificates>,
    mut connections: Connections,
) -> (Answers, Connections) {
    let mut answers = Answers::default();
    let Some(certificates) = certificates else { return (answers, connections) };
    let mut asked = Vec::new();
    for region in &fleet.regions {
        let name = region.name.as_str();
        let Some(pod) = pods.get(name).filter(|p| p.running) else {
            connections.clients.remove(name);
            continue;
        };
        let Some(address) = pod.address else { continue };
        let mark = format!("{}/{address}/{}", pod.uid, certificates.mark);
        let known = connections.clients.get(name).filter(|(m, _)| *m == mark).map(|(_, c)| c.clone());
        let client = match known.map_or_else(|| client(name, address, certificates.identity.clone()), Ok) {
            Ok(client) => client,
            Err(e) => {
                answers.silent.insert(name.to_owned(), e.to_string());
                continue;
            }
        };
        connections.clients.insert(name.to_owned(), (mark, client.clone()));
        let token = connections.tokens.get(name).filter(|(uid, _)| *uid == pod.uid).map(|(_, t)| t.clone());
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
                let why = format!("the vault reports that it belongs to region {}", status.region);
                answers.silent.insert(name, why);
            }
            Ok(status) => {
                if let Some(token) = &token {
                    connections.tokens.insert(name.clone(), (uid, token.clone()));
                }
                answers.vaults.insert(name, Vault { status, token });
            }
            Err(e) => {
                answers.silent.insert(name, e.to_string());
            }
        }
    }
    (answers, connections)
}

/// A client for the vault of `region` in the pod at `address`.
fn client(region: &str, address: IpAddr, identity: Arc<Identity>) -> Result<VaultClient, VaultError> {
    VaultClient::new(region, SocketAddr::new(address, ADMIN), identity)
}
