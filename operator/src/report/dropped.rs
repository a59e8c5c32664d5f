//! What the server dropped of a status, because its definition is older than this operator and lacks fields of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::resource::BackupKeyVaultStatus;

/// A status that the server stored in part. Without this memory each pass would write it again.
#[derive(Clone)]
pub(crate) struct Dropped {
    at: Instant,
    kept: Arc<BackupKeyVaultStatus>,
    given: Arc<BackupKeyVaultStatus>,
}

/// After this time the definition may have been replaced.
const TRY_AGAIN: Duration = Duration::from_mins(10);

/// The status as the operator last wrote it, if `stored` is what the server kept of it.
pub(crate) fn completed(
    dropped: Option<&Dropped>,
    stored: BackupKeyVaultStatus,
    now: Instant,
) -> BackupKeyVaultStatus {
    match dropped {
        Some(d) if *d.kept == stored && now.duration_since(d.at) < TRY_AGAIN => (*d.given).clone(),
        _ => stored,
    }
}

impl Dropped {
    /// The server was given a status, and kept a part of it.
    pub(super) fn new(given: &BackupKeyVaultStatus, kept: BackupKeyVaultStatus, now: Instant) -> Self {
        Self { at: now, kept: Arc::new(kept), given: Arc::new(given.clone()) }
    }
}
