//! A status that the server has stored in part. An older CRD drops fields that it lacks. This module restores what the operator wrote last.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::resource::BackupKeyVaultStatus;

/// What the operator wrote and what the server stored of it. Without this memory each pass would write the status again.
#[derive(Clone)]
pub(crate) struct PartlyStoredStatus {
    at: Instant,
    kept: Arc<BackupKeyVaultStatus>,
    given: Arc<BackupKeyVaultStatus>,
}

/// After this time the definition may have been replaced.
const TRY_AGAIN: Duration = Duration::from_mins(10);

/// The status as the operator last wrote it, if `stored` is what the server kept of it.
pub(crate) fn last_reported_status(
    partly_stored: Option<&PartlyStoredStatus>,
    stored: BackupKeyVaultStatus,
    now: Instant,
) -> BackupKeyVaultStatus {
    match partly_stored {
        Some(d) if *d.kept == stored && now.duration_since(d.at) < TRY_AGAIN => (*d.given).clone(),
        _ => stored,
    }
}

impl PartlyStoredStatus {
    /// The server was given a status, and kept a part of it.
    pub(super) fn new(given: &BackupKeyVaultStatus, kept: BackupKeyVaultStatus, now: Instant) -> Self {
        Self { at: now, kept: Arc::new(kept), given: Arc::new(given.clone()) }
    }
}
