//! Events: one for each condition that changes and each new wait, for `kubectl describe`.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType};

use crate::conditions::{Check, Condition, Status};
use crate::context::Context;
use crate::resource::{BackupKeyVaultStatus, status::WaitStatus};

/// Longest note of an event, in bytes. The server takes 1,024.
const NOTE: usize = 1000;

/// Publishes what has changed.
pub(super) async fn changes(
    context: &Context,
    about: &ObjectReference,
    before: &BackupKeyVaultStatus,
    after: &BackupKeyVaultStatus,
) {
    for now in &after.conditions {
        // Changes of Reconciling would be most of the events, and the other conditions report the important ones.
        if now.type_ == Condition::Reconciling.name() {
            continue;
        }
        let old = before.conditions.iter().find(|c| c.type_ == now.type_);
        let same = old.is_some_and(|o| o.status == now.status && o.reason == now.reason);
        // A new fleet begins with nothing ready. That needs no event.
        if same || (old.is_none() && now.status != Status::True.name()) {
            continue;
        }
        let good = (now.status == Status::True.name()) != (now.type_ == Condition::Stalled.name());
        let kind =
            if good || now.status == Status::Unknown.name() { EventType::Normal } else { EventType::Warning };
        publish(context, about, kind, &now.reason, &now.type_, &now.message).await;
    }
    let news = |w: &&WaitStatus| !before.waits.iter().any(|o| o.check == w.check && o.target == w.target);
    let known = [Check::VaultStarting.name(), Check::VaultNotReady.name()];
    for wait in after.waits.iter().filter(news).filter(|w| !known.contains(&w.check.as_str())) {
        publish(context, about, EventType::Warning, &wait.check, Condition::Ready.name(), &wait.message)
            .await;
    }
}

pub(super) async fn publish(
    context: &Context,
    about: &ObjectReference,
    kind: EventType,
    reason: &str,
    action: &str,
    note: &str,
) {
    let event = Event {
        type_: kind,
        reason: reason.chars().take(128).collect(),
        note: Some(shortened(note)).filter(|n| !n.is_empty()).map(str::to_owned),
        action: action.to_owned(),
        secondary: None,
    };
    if let Err(e) = context.events.publish(&event, about).await {
        tracing::warn!(error = %e, reason, "an event could not be published");
    }
}

fn shortened(note: &str) -> &str {
    note.get(..note.floor_char_boundary(NOTE)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_has_no_more_bytes_than_the_server_takes() {
        assert_eq!(shortened("short"), "short");
        let long = "é".repeat(NOTE);
        assert_eq!(shortened(&long).len(), NOTE);
        assert_eq!(shortened(&format!("x{long}")).len(), NOTE - 1);
    }
}
