//! One pass over a resource whose spec was accepted, stage by stage: observe, decide, plan, apply, report. Each stage takes values and returns values and
//! troubles. A trouble of one stage is reported in the status, and the next stages still run as far as they can.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::time::Instant;

use super::application::{Applied, apply};
use super::memory::Memory;
use super::report::{Findings, after};
use super::trouble::PassError;
use super::{absent_kinds, actions, chatd_metrics, route, status_store};
use crate::conditions::{Check, Condition, Status, Trouble};
use crate::context::{Context, now};
use crate::plan::{Content, Planner};
use crate::resource::{BackupKeyVault, BackupKeyVaultStatus};
use crate::status::unread;
use crate::validate::Fleet;
use crate::{certificates, credentials, decide, observe, random, vaults};

/// Pause after a change: there is usually more to do.
const SOON: Duration = Duration::from_millis(300);
/// Pause while something is under way.
const WHILE_WORKING: Duration = Duration::from_secs(2);
/// Passes stay frequent for this long after a change.
const LIVELY: Duration = Duration::from_mins(2);

/// Returns the memory for the next pass, and the pause before it.
pub(super) async fn pass(
    context: &Context,
    resource: &BackupKeyVault,
    fleet: &Fleet,
    before: &BackupKeyVaultStatus,
    memory: Memory,
) -> Result<(Memory, Duration), PassError> {
    let at = now();

    // Observe the cluster.
    let observed = match observe::cluster(context, fleet).await {
        Ok(observed) => observed,
        Err(e) => {
            // The journal's name is taken, or the operator lacks a right. Acting on half an observation could make keys twice.
            let after = unread(before, fleet.generation, &e.trouble()?, &Time(at));
            let dropped = status_store::write(context, resource, before, &after, memory.dropped).await?;
            context.metrics.show(&fleet.namespace, fleet.name.as_str(), &after);
            return Ok((Memory { dropped, ..memory }, context.resync));
        }
    };

    // Make certificates and credentials. Pods and the connections to the vaults need them.
    let (certificates, certificate_cache, mut troubles) =
        certificates::provide(context, fleet, memory.certificates).await?;
    let (database, credential_cache, found) =
        credentials::provide(context, fleet, &observed, memory.credentials).await?;
    troubles.extend(found);

    // Observe the vaults.
    let (observed, connections) =
        vaults::ask(fleet, observed, certificates.as_deref(), memory.connections).await;

    // Decide, and plan. The decision compares the running vaults with what the journal would plan.
    let content = Content::of(&observed, database, certificates.as_deref());
    let planner = Planner::new(context, fleet, &observed, content);
    let (journal, decision) = decide::next(&planner, &observed, random::new_id()?, at.as_millisecond());
    let planned = journal.as_ref().map(|journal| planner.plan(journal));

    // Apply the plan, then carry out the decided actions.
    let harmless = decision.allows_changes();
    let applied = match planned {
        Some(planned) if harmless && !fleet.paused => {
            let (applied, found) = apply(context, fleet, planned, troubles.is_empty()).await?;
            troubles.extend(found);
            applied
        }
        planned => Applied::withheld(planned.unwrap_or_default()),
    };
    let acted = if fleet.paused {
        false
    } else {
        let request = &observed.request;
        let (acted, found) =
            actions::carry_out(context, fleet, &connections, journal.as_ref(), request, &decision).await;
        troubles.extend(found);
        acted
    };
    let changed = applied.changed || acted;

    // Report.
    let jwks = observed.jwks_fault.clone();
    troubles.extend(jwks.map(|why| Trouble::new(Check::IssuerKeys, "clientAuth.jwks", why)));
    troubles.extend(absent_kinds::troubles(context, fleet));
    troubles.extend(route::troubles(context, fleet, &applied).await);
    let findings = Findings {
        observed: &observed,
        decision: &decision,
        journal: journal.as_ref(),
        troubles: &troubles,
        applied: &applied,
        database: chatd_metrics::database_reached(context, fleet, &observed).await,
        listed: certificates.as_ref().map(|c| c.listed.as_slice()).unwrap_or_default(),
        now: Time(at),
    };
    let after = after(context, fleet, before, findings);
    let dropped = status_store::write(context, resource, before, &after, memory.dropped).await?;
    context.metrics.show(&fleet.namespace, fleet.name.as_str(), &after);

    let moved = if changed || *before != after { Some(Instant::now()) } else { memory.moved };
    let pause = pause(context, moved, changed, &after);
    let memory = Memory {
        uid: memory.uid,
        moved,
        certificates: certificate_cache,
        credentials: credential_cache,
        connections,
        dropped,
    };
    Ok((memory, pause))
}

/// The pause before the next pass.
fn pause(context: &Context, moved: Option<Instant>, changed: bool, after: &BackupKeyVaultStatus) -> Duration {
    let ready = after
        .conditions
        .iter()
        .any(|c| c.type_ == Condition::Ready.name() && c.status == Status::True.name());
    match (changed, ready && after.waits.is_empty()) {
        (true, false) => SOON,
        (true, true) => WHILE_WORKING,
        // A fleet without recent changes waits for a person. Changes of pods, volumes and workloads start a pass anyway.
        (false, false) if moved.is_some_and(|m| m.elapsed() < LIVELY) => {
            WHILE_WORKING.max(context.resync / 10)
        }
        (false, _) => context.resync,
    }
}
