//! What the operator remembers of each resource between passes, to spare the API server and the vaults' tokens. A lost memory costs a few reads.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::{certificates, credentials, report, vaults};

/// Passes at once.
pub(crate) const AT_ONCE: u16 = 8;

/// The memory of one resource. A pass takes it as a value and returns the next one. Each stage owns the type of its part.
#[derive(Default, Clone)]
pub(crate) struct Memory {
    /// The resource's uid. A resource made again under the same name starts with an empty memory.
    pub uid: String,
    /// When a pass last changed something.
    pub last_changed: Option<Instant>,
    pub certificates: Option<certificates::Cache>,
    pub credentials: Option<credentials::Cache>,
    pub connections: vaults::Connections,
    pub partly_stored: Option<report::PartlyStoredStatus>,
}

/// The memories of all resources, by namespace and name.
#[derive(Default)]
pub(crate) struct Memories(Mutex<HashMap<(String, String), Memory>>);

impl Memories {
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Memory>> {
        self.0.lock()
    }

    pub(crate) fn recall(&self, namespace: &str, name: &str, uid: &str) -> Memory {
        let memories = self.lock();
        let known = memories.get(&(namespace.to_owned(), name.to_owned())).filter(|m| m.uid == uid);
        known.cloned().unwrap_or_else(|| Memory { uid: uid.to_owned(), ..Memory::default() })
    }

    pub(crate) fn remember(&self, namespace: &str, name: &str, memory: Memory) {
        self.lock().insert((namespace.to_owned(), name.to_owned()), memory);
    }

    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// A pause that leaves half of the passes to other resources. The controller's queue has no order: with hundreds of resources, those that are due at
    /// once would starve the others.
    pub(crate) fn fair(&self, pause: Duration, pass: Duration) -> Duration {
        let many = self.lock().len();
        pause.max(fair(many, pass))
    }
}

fn fair(many: usize, pass: Duration) -> Duration {
    pass.saturating_mul(u32::try_from(many).unwrap_or(u32::MAX)) / (u32::from(AT_ONCE) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_resources_leave_room_for_those_that_were_not_looked_at_yet() {
        let pass = Duration::from_millis(400);
        assert_eq!(fair(1, pass), Duration::from_millis(100), "one resource does not wait for itself");
        // 500 resources with a pass every 50 s need 4 s of passes a second: half of 8 at once.
        assert_eq!(fair(500, pass), Duration::from_secs(50));
    }
}
