//! One resource as the controller hands it over: its refusal, or a pass over it. Only a fault that is not the resource's own, such as an unreachable API
//! server, is an error.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::runtime::controller::Action as Next;
use thiserror_ext::AsReport as _;
use tokio::time::Instant;

use super::error::PassError;
use super::memory::Memories;
use super::pipeline::pass;
use crate::context::{Context, now};
use crate::report;
use crate::resource::BackupKeyVault;
use crate::validate::validate;

/// What the controllers share.
pub(crate) struct Operator {
    pub context: Context,
    pub memories: Memories,
}

impl Operator {
    /// Forgets a resource that is gone.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.memories.forget(namespace, name);
        self.context.seen.forget(namespace, name);
        self.context.metrics.forget(namespace, name);
    }
}

pub(crate) async fn reconcile(
    resource: Arc<BackupKeyVault>,
    operator: Arc<Operator>,
) -> Result<Next, PassError> {
    let Operator { context, memories } = &*operator;
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    if resource.metadata.deletion_timestamp.is_some() {
        // Objects with keys have no owner and stay. The garbage collector removes the others.
        operator.forget(&namespace, &name);
        return Ok(Next::await_change());
    }
    let began = Instant::now();
    let mut memory = memories.recall(&namespace, &name, &resource.uid().unwrap_or_default());
    let before = report::last_reported_status(
        memory.partly_stored.as_ref(),
        resource.status.clone().unwrap_or_default(),
        began,
    );
    match validate(&resource) {
        Err(refusals) => {
            let last = (Time(now()), memory.partly_stored);
            memory.partly_stored =
                report::report_refused(context, &resource, &before, &refusals, last).await?;
            memories.remember(&namespace, &name, memory);
            Ok(Next::requeue(context.resync))
        }
        Ok(fleet) => {
            let (memory, pause) = pass(context, &resource, &fleet, &before, memory, began).await?;
            memories.remember(&namespace, &name, memory);
            Ok(Next::requeue(memories.fair(pause, began.elapsed())))
        }
    }
}

/// What to do after a failed pass.
#[allow(clippy::needless_pass_by_value)] // the controller hands them over so
pub(crate) fn failed(resource: Arc<BackupKeyVault>, error: &PassError, operator: Arc<Operator>) -> Next {
    let step = match error {
        PassError::Apply(_) | PassError::Credentials(_) | PassError::Randomness(_) => "apply",
        PassError::Status(_) => "status",
    };
    operator.context.metrics.errors.with_label_values(&[step]).inc();
    tracing::warn!(
        namespace = resource.namespace(),
        vault = resource.name_any(),
        error = %error.as_report(),
        "a pass failed; tried again"
    );
    Next::requeue(Duration::from_secs(5))
}
