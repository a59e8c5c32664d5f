//! Stage: act. Carries out the decided actions one by one, at the vaults and in ConfigMaps. Each can be repeated, and the first that fails ends the stage.
//!
//! Both files do I/O.

mod ceremony;

use std::collections::BTreeMap;

use bkv_wire::documents::{Kind, Root, fingerprint};

use crate::api_server::{ConfigMapStore, ObjectError, bytes};
use crate::conditions::{Check, Trouble};
use crate::context::Context;
use crate::decide::{Action, Decision};
use crate::journal::Journal;
use crate::paths::ROOT_FILE;
use crate::validate::Fleet;
use crate::vaults::{Connections, VaultClient, VaultError};
use ceremony::{RequestError, ask, unsigned};

/// An action failed.
#[derive(Debug, thiserror::Error)]
enum ActionError {
    #[error(transparent)]
    Apply(#[from] ObjectError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The vault stopped answering after the decision.
    #[error("vault {0} is not there any more")]
    Gone(String),
    /// A vault's root is another fleet's.
    #[error(
        "vault {region} has the root of fleet {found}, and not of {wanted}: its volume is another fleet's"
    )]
    Foreign { region: String, found: String, wanted: String },
}

fn client(connections: &Connections, region: &str) -> Result<VaultClient, ActionError> {
    connections.client(region).ok_or_else(|| ActionError::Gone(region.to_owned()))
}

/// Carries out the decided actions, up to the first that fails. Returns true if something was changed.
pub(crate) async fn carry_out(
    context: &Context,
    fleet: &Fleet,
    connections: &Connections,
    journal: Option<&Journal>,
    asked: &BTreeMap<String, Vec<u8>>,
    decision: &Decision,
) -> (bool, Vec<Trouble>) {
    if fleet.paused {
        return (false, Vec::new());
    }
    let mut changed = false;
    for action in decision.actions.clone() {
        let step = action.name();
        match act(context, fleet, connections, journal, asked, action).await {
            Ok(wrote) => {
                if wrote {
                    tracing::info!(vault = %fleet.name, namespace = fleet.namespace, step, "done");
                }
                changed |= wrote;
            }
            Err(e) => {
                context.metrics.errors.with_label_values(&[step]).inc();
                return (changed, vec![Trouble::new(Check::StepFailed, step, e.to_string())]);
            }
        }
    }
    (changed, Vec::new())
}

/// Carries out one action. Returns true if something was changed.
async fn act(
    context: &Context,
    fleet: &Fleet,
    connections: &Connections,
    journal: Option<&Journal>,
    asked: &BTreeMap<String, Vec<u8>>,
    action: Action,
) -> Result<bool, ActionError> {
    let store = ConfigMapStore::of(&context.client, fleet);
    match action {
        Action::WriteJournal(journal) => store.make_journal(&journal).await?,
        Action::Advance(stage) => {
            if let Some(journal) = journal {
                store.advance(&Journal { stage, ..journal.clone() }).await?;
            }
        }
        Action::PublishRoot { region } => {
            let answer = client(connections, &region)?.root().await?;
            publish(&store, fleet, journal, &region, answer.root).await?;
        }
        Action::PublishGivenRoot(root) => publish_bytes(&store, fleet, root).await?,
        Action::Sign { region, draft } => {
            let (kind, unsigned) = unsigned(&draft)?;
            let signed = client(connections, &region)?.sign(kind, unsigned).await?;
            // A vault that lost its volumes signs with a new root. Its document must not be kept: the operator would sign again in every pass.
            verified(&store, fleet, &region, kind, &signed).await?;
            keep(&store, fleet, kind, signed).await?;
        }
        Action::Recover { region, kind } => {
            let found = client(connections, &region)?.in_force(kind).await?;
            let signed = found.ok_or_else(|| ActionError::Gone(region.clone()))?;
            verified(&store, fleet, &region, kind, &signed).await?;
            keep(&store, fleet, kind, signed).await?;
        }
        Action::KeepSigned { kind, signed } => keep(&store, fleet, kind, signed).await?,
        Action::AskForSignatures(drafts) => return Ok(ask(&store, fleet.names(), &drafts, asked).await?),
        Action::WithdrawRequest => store.remove(&fleet.names().ceremony_request()).await?,
        Action::Install { region, kind, signed } => {
            client(connections, &region)?.install(kind, signed).await?;
        }
        Action::Initialise { region } => client(connections, &region)?.init().await.map(drop)?,
        Action::HandRootOver { from, to, slot } => {
            let sealed = client(connections, &from)?.sealed_root().await?;
            let Some(one) = sealed.members.iter().find(|m| m.slot == slot.0) else {
                return Err(ActionError::Gone(to));
            };
            client(connections, &to)?.keep_root(one.sealed.clone()).await?;
        }
    }
    Ok(true)
}

async fn publish(
    store: &ConfigMapStore<'_>,
    fleet: &Fleet,
    journal: Option<&Journal>,
    region: &str,
    root: Vec<u8>,
) -> Result<(), ActionError> {
    let unusable = |why: String| VaultError::UnusableAnswer { region: region.to_owned(), why };
    let decoded = Root::decode(&root).map_err(|e| unusable(e.to_string()))?;
    let found = hex::encode(decoded.fleet.0);
    let wanted = journal.map(|j| j.fleet.clone()).unwrap_or_default();
    if found != wanted {
        return Err(ActionError::Foreign { region: region.to_owned(), found, wanted });
    }
    publish_bytes(store, fleet, root).await
}

async fn publish_bytes(store: &ConfigMapStore<'_>, fleet: &Fleet, root: Vec<u8>) -> Result<(), ActionError> {
    let print = fingerprint("root", &root);
    let (text, bytes) = ([("fingerprint".to_owned(), print)].into(), [(ROOT_FILE.to_owned(), root)].into());
    Ok(store.keep(&fleet.names().root(), text, bytes).await?)
}

async fn verified(
    store: &ConfigMapStore<'_>,
    fleet: &Fleet,
    region: &str,
    kind: Kind,
    signed: &[u8],
) -> Result<(), ActionError> {
    let unusable =
        |why: String| ActionError::Vault(VaultError::UnusableAnswer { region: region.to_owned(), why });
    let published = store.ours(&fleet.names().root()).await?.and_then(|m| bytes(&m, ROOT_FILE));
    let root = Root::decode(&published.unwrap_or_default()).map_err(|e| unusable(e.to_string()))?;
    let done = match kind {
        Kind::Admission => bkv_wire::documents::admission(&root, signed, None).map(drop),
        Kind::Policy => bkv_wire::documents::policy(&root, signed, None).map(drop),
    };
    done.map_err(|e| {
        unusable(format!("another root than the published one has signed its documents ({e}), so its volumes are not this fleet's: give it its own volumes back, or begin again under another name"))
    })
}

async fn keep(
    store: &ConfigMapStore<'_>,
    fleet: &Fleet,
    kind: Kind,
    signed: Vec<u8>,
) -> Result<(), ActionError> {
    let bytes = [(kind.name().to_owned(), signed)].into();
    Ok(store.keep(&fleet.names().documents(), BTreeMap::new(), bytes).await?)
}
