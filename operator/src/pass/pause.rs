//! The pause between two passes over a resource.

use std::time::Duration;

use tokio::time::Instant;

use crate::conditions::{Condition, Status};
use crate::context::Context;
use crate::resource::BackupKeyVaultStatus;

/// Pause after a change: there is usually more to do.
const SOON: Duration = Duration::from_millis(300);
/// Pause while something is under way.
const WHILE_WORKING: Duration = Duration::from_secs(2);
/// Passes stay frequent for this long after a change.
const LIVELY: Duration = Duration::from_mins(2);

/// The pause before the next pass.
pub(super) fn pause(
    context: &Context,
    last_changed: Option<Instant>,
    now: Instant,
    changed: bool,
    after: &BackupKeyVaultStatus,
) -> Duration {
    let ready = after
        .conditions
        .iter()
        .any(|c| c.type_ == Condition::Ready.name() && c.status == Status::True.name());
    match (changed, ready && after.waits.is_empty()) {
        (true, false) => SOON,
        (true, true) => WHILE_WORKING,
        // A fleet without recent changes waits for a person. Changes of pods, volumes and workloads start a pass anyway.
        (false, false) if last_changed.is_some_and(|m| now.duration_since(m) < LIVELY) => {
            WHILE_WORKING.max(context.resync / 10)
        }
        (false, _) => context.resync,
    }
}
