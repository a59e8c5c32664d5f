//! One pass over a resource whose spec was accepted, as a list of its stages. Each call names the folder of its stage. A stage takes values and returns
//! values and troubles. A trouble of one stage is reported in the status, and the next stages still run as far as they can.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::error::PassError;
use super::memory::Memory;
use super::pause::pause;
use crate::context::{Context, now};
use crate::resource::{BackupKeyVault, BackupKeyVaultStatus};
use crate::validate::Fleet;
use crate::{act, apply, certificates, credentials, decide, observe, plan, random, report, vaults};

/// Returns the memory for the next pass, and the pause before it.
pub(super) async fn pass(
    context: &Context,
    resource: &BackupKeyVault,
    fleet: &Fleet,
    before: &BackupKeyVaultStatus,
    memory: Memory,
    began: Instant,
) -> Result<(Memory, Duration), PassError> {
    let at = now();

    let observed = match observe::cluster(context, fleet).await {
        Ok(observed) => observed,
        Err(e) => {
            // The journal's name is taken, or the operator lacks a right: this resource reports it and its pass ends. Acting on half an observation could make
            // keys twice. Any other error, such as an unreachable API server, is returned, and the controller repeats the pass after five seconds.
            let (trouble, now) = (e.trouble()?, Time(at));
            let partly_stored =
                report::report_unread(context, resource, before, &trouble, (now, memory.partly_stored))
                    .await?;
            return Ok((Memory { partly_stored, ..memory }, context.resync));
        }
    };

    let (certificates, certificate_cache, mut troubles) =
        certificates::provide(context, fleet, memory.certificates, began).await?;

    let (external_database, credential_cache, found) =
        credentials::provide(context, fleet, &observed, memory.credentials, began).await?;
    troubles.extend(found);

    let (answers, connections) =
        vaults::ask(fleet, &observed.pods, certificates.as_deref(), memory.connections).await;

    // `decide` also plans: it compares the running vaults with what the journal would plan. So the planner is made before the decision, and the plan after it.
    let content = plan::Content::of(&observed, external_database, certificates.as_deref());
    let planner = plan::Planner::new(&context.settings, &context.embedded, fleet, &observed, content);
    let (journal, decision) =
        decide::next(&planner, &observed, &answers, random::new_id()?, at.as_millisecond());

    let planned = journal.as_ref().map(|journal| planner.plan(journal));

    let (applied, found) = apply::apply(context, fleet, planned, &decision, troubles.is_empty()).await?;
    troubles.extend(found);

    let request = &observed.request;
    let (acted, found) =
        act::carry_out(context, fleet, &connections, journal.as_ref(), request, &decision).await;
    troubles.extend(found);

    let changed = applied.changed || acted;
    let outcome = report::Outcome {
        fleet,
        observed: &observed,
        answers: &answers,
        decision: &decision,
        journal: journal.as_ref(),
        applied: &applied,
        certificates: certificates.as_ref().map(|c| c.listed.as_slice()).unwrap_or_default(),
        web_change: certificates
            .as_ref()
            .and_then(|c| c.web_change)
            .and_then(|at| Timestamp::from_second(at).ok()),
        troubles,
        now: Time(at),
    };
    let (after, partly_stored) =
        report::report(context, resource, before, outcome, memory.partly_stored).await?;

    let ended = Instant::now();
    let last_changed = if changed || *before != after { Some(ended) } else { memory.last_changed };
    let pause = pause(context, last_changed, ended, changed, &after);
    let memory = Memory {
        uid: memory.uid,
        last_changed,
        certificates: certificate_cache,
        credentials: credential_cache,
        connections,
        partly_stored,
    };
    Ok((memory, pause))
}
