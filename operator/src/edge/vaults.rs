//! Stage: observe, second half. Asks the vaults for their status and tokens.

use std::collections::{BTreeMap, HashMap};

use futures_util::future::join_all;

use crate::bootstrap::Vault;
use crate::certificates::Certificates;
use crate::observe::PodSeen;
use crate::validate::Fleet;
use crate::vaults::{self, VaultClient, VaultToken};

/// Connections and tokens that are used again in the next pass, by region.
#[derive(Default, Clone)]
pub(super) struct Connections {
    /// Public parts, with the uid of the pod that gave them: a pod that is replaced is asked again.
    tokens: HashMap<String, (String, VaultToken)>,
    /// Clients, with the pod and the certificate that they were made with.
    clients: HashMap<String, (String, VaultClient)>,
}

impl Connections {
    pub(super) fn client(&self, region: &str) -> Option<VaultClient> {
        self.clients.get(region).map(|(_, client)| client.clone())
    }
}

/// What the vaults answered, by region.
pub(super) struct Answers {
    pub vaults: BTreeMap<String, Vault>,
    /// Why a vault gave no usable answer.
    pub silent: BTreeMap<String, String>,
}

/// Asks every vault whose pod runs, all at once.
pub(super) async fn ask(
    fleet: &Fleet,
    pods: &BTreeMap<String, PodSeen>,
    certificates: &Certificates,
    mut connections: Connections,
) -> (Answers, Connections) {
    let mut answers = Answers { vaults: BTreeMap::new(), silent: BTreeMap::new() };
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
        let client =
            match known.map_or_else(|| vaults::client(name, address, certificates.identity.clone()), Ok) {
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
