//! Events: one for each condition that changes, so that `kubectl describe` tells the story. Nothing at rest.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType};

use super::world::World;
use crate::conditions::{Check, Condition, Status};
use crate::resource::{BackupKeyVaultStatus, status::WaitStatus};

/// Of an event's note; the server takes 1,024 bytes.
const NOTE: usize = 900;

/// Tells what has changed.
pub(super) async fn changes(
    world: &World,
    about: &ObjectReference,
    before: &BackupKeyVaultStatus,
    after: &BackupKeyVaultStatus,
) {
    for now in &after.conditions {
        // Its steps would be most of the events; the others say what matters.
        if now.type_ == Condition::Reconciling.name() {
            continue;
        }
        let old = before.conditions.iter().find(|c| c.type_ == now.type_);
        let same = old.is_some_and(|o| o.status == now.status && o.reason == now.reason);
        // At the beginning nothing is ready, and that is no news.
        if same || (old.is_none() && now.status != Status::True.name()) {
            continue;
        }
        let good = (now.status == Status::True.name()) != (now.type_ == Condition::Stalled.name());
        let kind =
            if good || now.status == Status::Unknown.name() { EventType::Normal } else { EventType::Warning };
        publish(world, about, kind, &now.reason, &now.type_, &now.message).await;
    }
    let news = |w: &&WaitStatus| !before.waits.iter().any(|o| o.check == w.check && o.target == w.target);
    let known = [Check::VaultStarting.name(), Check::VaultNotReady.name()];
    for wait in after.waits.iter().filter(news).filter(|w| !known.contains(&w.check.as_str())) {
        publish(world, about, EventType::Warning, &wait.check, Condition::Ready.name(), &wait.message).await;
    }
}

pub(super) async fn publish(
    world: &World,
    about: &ObjectReference,
    kind: EventType,
    reason: &str,
    action: &str,
    note: &str,
) {
    let event = Event {
        type_: kind,
        reason: reason.chars().take(128).collect(),
        note: Some(note.chars().take(NOTE).collect::<String>()).filter(|n| !n.is_empty()),
        action: action.to_owned(),
        secondary: None,
    };
    if let Err(e) = world.events.publish(&event, about).await {
        tracing::warn!(error = %e, reason, "an event could not be published");
    }
}
