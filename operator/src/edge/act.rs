//! Carries the bootstrap's actions out, one by one. Each can be repeated; the first that fails ends the pass.

use std::collections::BTreeMap;

use bkv_wire::documents::{Kind, Root, fingerprint};

use super::store::{Store, bytes, documents, request};
use super::world::{Memory, World};
use crate::apply::ApplyError;
use crate::bootstrap::{Action, Custody};
use crate::documents::{Draft, to_sign};
use crate::journal::Journal;
use crate::validate::Fleet;
use crate::vaults::{VaultClient, VaultError};

/// An action failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActionError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The document breaks a rule: the spec says something that can't be signed.
    #[error("the {0} can't be made: {1}")]
    Document(&'static str, String),
    /// The vault went away between two looks.
    #[error("vault {0} is not there any more")]
    Gone(String),
    /// A vault's root is another fleet's.
    #[error(
        "vault {region} has the root of fleet {found}, and not of {wanted}: its volume is another fleet's"
    )]
    Foreign { region: String, found: String, wanted: String },
}

fn client(memory: &Memory, region: &str) -> Result<VaultClient, ActionError> {
    let found = memory.clients.get(region).map(|(_, c)| c.clone());
    found.ok_or_else(|| ActionError::Gone(region.to_owned()))
}

/// Does one; true if something was changed.
pub(super) async fn act(
    world: &World,
    fleet: &Fleet,
    memory: &Memory,
    journal: Option<&Journal>,
    asked: &BTreeMap<String, Vec<u8>>,
    action: Action,
) -> Result<bool, ActionError> {
    let store = Store::of(world, fleet);
    let name = fleet.name.as_str();
    match action {
        Action::WriteJournal(journal) => store.make_journal(&journal).await?,
        Action::Advance(stage) => {
            if let Some(journal) = journal {
                store.advance(&Journal { stage, ..journal.clone() }).await?;
            }
        }
        Action::PublishRoot { region } => {
            let answer = client(memory, &region)?.root().await?;
            publish(&store, fleet, journal, &region, answer.root).await?;
        }
        Action::PublishGivenRoot(root) => publish_bytes(&store, fleet, root).await?,
        Action::Sign { region, draft } => {
            let (kind, unsigned) = unsigned(&draft)?;
            let signed = client(memory, &region)?.sign(kind, unsigned).await?;
            // By another root than the published one: the vault has lost its volumes and made a new one. Kept, it would be signed again for ever.
            verified(&store, fleet, &region, kind, &signed).await?;
            keep(&store, name, kind, signed).await?;
        }
        Action::Recover { region, kind } => {
            let found = client(memory, &region)?.in_force(kind).await?;
            let signed = found.ok_or_else(|| ActionError::Gone(region.clone()))?;
            verified(&store, fleet, &region, kind, &signed).await?;
            keep(&store, name, kind, signed).await?;
        }
        Action::KeepSigned { kind, signed } => keep(&store, name, kind, signed).await?,
        Action::AskForSignatures(drafts) => return ask(&store, name, &drafts, asked).await,
        Action::WithdrawRequest => store.remove(&request(name)).await?,
        Action::Install { region, kind, signed } => client(memory, &region)?.install(kind, signed).await?,
        Action::Initialise { region } => client(memory, &region)?.init().await.map(drop)?,
        Action::HandRootOver { from, to, slot } => {
            let sealed = client(memory, &from)?.sealed_root().await?;
            let Some(one) = sealed.members.iter().find(|m| m.slot == slot.0) else {
                return Err(ActionError::Gone(to));
            };
            client(memory, &to)?.keep_root(one.sealed.clone()).await?;
        }
    }
    Ok(true)
}

async fn publish(
    store: &Store<'_>,
    fleet: &Fleet,
    journal: Option<&Journal>,
    region: &str,
    root: Vec<u8>,
) -> Result<(), ActionError> {
    let odd = |why: String| VaultError::Odd { region: region.to_owned(), why };
    let decoded = Root::decode(&root).map_err(|e| odd(e.to_string()))?;
    let found = hex::encode(decoded.fleet.0);
    let wanted = journal.map(|j| j.fleet.clone()).unwrap_or_default();
    if found != wanted {
        return Err(ActionError::Foreign { region: region.to_owned(), found, wanted });
    }
    publish_bytes(store, fleet, root).await
}

async fn publish_bytes(store: &Store<'_>, fleet: &Fleet, root: Vec<u8>) -> Result<(), ActionError> {
    let print = fingerprint("root", &root);
    let (text, bytes) = ([("fingerprint".to_owned(), print)].into(), [("root.bin".to_owned(), root)].into());
    Ok(store.keep(&fleet.names().root(), text, bytes).await?)
}

async fn verified(
    store: &Store<'_>,
    fleet: &Fleet,
    region: &str,
    kind: Kind,
    signed: &[u8],
) -> Result<(), ActionError> {
    let odd = |why: String| ActionError::Vault(VaultError::Odd { region: region.to_owned(), why });
    let published = store.ours(&fleet.names().root()).await?.and_then(|m| bytes(&m, "root.bin"));
    let root = Root::decode(&published.unwrap_or_default()).map_err(|e| odd(e.to_string()))?;
    let done = match kind {
        Kind::Admission => bkv_wire::documents::admission(&root, signed, None).map(drop),
        Kind::Policy => bkv_wire::documents::policy(&root, signed, None).map(drop),
    };
    done.map_err(|e| {
        odd(format!("its documents are of another root than the published one ({e}): its volumes are new; give it its own back, or begin again under another name"))
    })
}

fn unsigned(draft: &Draft) -> Result<(Kind, Vec<u8>), ActionError> {
    let kind = draft.kind();
    let bytes = to_sign(draft).map_err(|e| ActionError::Document(kind.name(), e.to_string()))?;
    Ok((kind, bytes))
}

async fn keep(store: &Store<'_>, name: &str, kind: Kind, signed: Vec<u8>) -> Result<(), ActionError> {
    let bytes = [(kind.name().to_owned(), signed)].into();
    Ok(store.keep(&documents(name), BTreeMap::new(), bytes).await?)
}

/// Publishes what is to be signed, with the fingerprints to compare and the command to run. One that asks for the same already stays: people may be
/// about to sign it.
async fn ask(
    store: &Store<'_>,
    name: &str,
    drafts: &[Draft],
    asked: &BTreeMap<String, Vec<u8>>,
) -> Result<bool, ActionError> {
    let same = |draft: &Draft| asked.get(file(draft)).is_some_and(|unsigned| draft.does_as_well(unsigned));
    if drafts.len() == asked.len() && drafts.iter().all(same) {
        return Ok(false);
    }
    let mut bytes = BTreeMap::new();
    let mut lines = vec![
        "Sign each file off the cluster, with as many root keys as the root wants, after comparing the fingerprints with what each region's people read off their vault:".to_owned(),
    ];
    for draft in drafts {
        let (kind, unsigned) = unsigned(draft)?;
        let file = file(draft);
        lines.push(format!(
            "  kubectl get configmap {} -o jsonpath='{{.binaryData.{}}}' | base64 -d > {file}",
            request(name),
            file.replace('.', "\\.")
        ));
        lines.push(format!("  bkv ceremony show {file}"));
        lines.push(format!(
            "  bkv ceremony sign {file} --key root.key --root root.bin --output {}.signed",
            kind.name()
        ));
        if let Draft::Admission(list) = draft {
            for m in &list.members {
                lines.push(format!(
                    "    {}: identity {} delivery {}",
                    m.region,
                    fingerprint("identity", &m.identity),
                    fingerprint("delivery", &m.delivery)
                ));
            }
        }
        bytes.insert(file.to_owned(), unsigned);
    }
    lines.push("Then put the results into the ConfigMap that fleet.root.offline.signedConfigMapRef names, under the keys `admission` and `policy` (kubectl create configmap … --from-file=admission=admission.signed --from-file=policy=policy.signed --dry-run=client -o yaml | kubectl apply --server-side -f -).".to_owned());
    let text = [("how".to_owned(), lines.join("\n"))].into();
    // A request of other files is replaced as a whole.
    store.remove(&request(name)).await?;
    store.keep(&request(name), text, bytes).await?;
    Ok(true)
}

const fn file(draft: &Draft) -> &'static str {
    match draft.kind() {
        Kind::Admission => "admission.unsigned",
        Kind::Policy => "policy.unsigned",
    }
}

/// Custody of a fleet's root.
pub(super) fn custody(fleet: &Fleet) -> Custody {
    match fleet.root {
        crate::validate::RootCustody::InFleet => Custody::InFleet,
        crate::validate::RootCustody::Offline { .. } => Custody::Offline,
    }
}
