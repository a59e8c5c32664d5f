//! One resource, as the controller hands it over: refused, or a pass over it. Only what says nothing about the resource (the API server is away) is an
//! error, and tried again with growing pauses.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use kube::runtime::controller::Action as Next;
use tokio::time::Instant;

use super::pass::pass;
use super::report::{refused, write};
use super::world::World;
use crate::apply::ApplyError;
use crate::resource::BackupKeyVault;
use crate::validate::validate;

/// A pass that could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum PassError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("the status can't be written")]
    Status(#[source] kube::Error),
}

/// One pass.
pub(super) async fn reconcile(resource: Arc<BackupKeyVault>, world: Arc<World>) -> Result<Next, PassError> {
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let uid = resource.uid().unwrap_or_default();
    if resource.metadata.deletion_timestamp.is_some() {
        // Retain: what holds keys is owned by nobody and stays; the collector takes the rest.
        world.forget(&namespace, &name);
        return Ok(Next::await_change());
    }
    let before = resource.status.clone().unwrap_or_default();
    match validate(&resource) {
        Err(refusals) => {
            let mut memory = world.recall(&namespace, &name, &uid);
            let before = memory.completed(before);
            let after = refused(&resource, &before, &refusals);
            let written = write(&world, &resource, &before, &after, &mut memory).await;
            world.metrics.show(&namespace, &name, &after);
            world.remember(&namespace, &name, memory);
            written.map(|()| Next::requeue(world.resync))
        }
        Ok(fleet) => {
            let mut memory = world.recall(&namespace, &name, &uid);
            let before = memory.completed(before);
            let began = Instant::now();
            let done = pass(&world, &resource, &fleet, &before, &mut memory).await;
            world.remember(&namespace, &name, memory);
            done.map(|pause| Next::requeue(world.fair(pause, began.elapsed())))
        }
    }
}
/// What to do after a pass that failed: pauses grow by the number of failures in the queue's own backoff.
#[allow(clippy::needless_pass_by_value)] // the controller hands them over so
pub(super) fn failed(resource: Arc<BackupKeyVault>, error: &PassError, world: Arc<World>) -> Next {
    let step = match error {
        PassError::Apply(_) => "apply",
        PassError::Status(_) => "status",
    };
    world.metrics.errors.with_label_values(&[step]).inc();
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(e) = source {
        words = format!("{words}: {e}");
        source = e.source();
    }
    tracing::warn!(
        namespace = resource.namespace(),
        vault = resource.name_any(),
        error = words,
        "a pass failed; tried again"
    );
    Next::requeue(Duration::from_secs(5))
}
