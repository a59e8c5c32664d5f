//! One pass over a resource whose spec was accepted, step by step. A fault in one step is said in the status, and the next go on as far as they can.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::time::Instant;

use super::act::act;
use super::database;
use super::facts::decided;
use super::left_out;
use super::pki::{self, CertificateError};
use super::planned;
use super::read;
use super::reconcile::PassError;
use super::report::{Seen, after, write};
use super::route;
use super::secrets::{Database, Secrets};
use super::trouble::trouble;
use super::world::{Certificates, Memory, World, now};
use crate::apply::ApplyError;
use crate::bootstrap::{Decision, Verdict};
use crate::conditions::{Check, Condition, Status, Trouble};
use crate::journal::{Journal, Stage};
use crate::kinds::Kind;
use crate::observe::Observed;
use crate::plan::Content;
use crate::resource::{BackupKeyVault, BackupKeyVaultStatus};
use crate::status::unread;
use crate::validate::Fleet;

/// After something was done there is usually more.
const SOON: Duration = Duration::from_millis(300);
/// While something is on its way.
const WHILE_WORKING: Duration = Duration::from_secs(2);
/// For so long after something has moved the next look comes soon.
const LIVELY: Duration = Duration::from_mins(2);

/// Observe, decide, plan, apply, report. Gives the pause before the next look.
pub(super) async fn pass(
    world: &World,
    resource: &BackupKeyVault,
    fleet: &Fleet,
    before: &BackupKeyVaultStatus,
    memory: &mut Memory,
) -> Result<Duration, PassError> {
    let at = now();
    let mut observed = match read::cluster(world, fleet).await {
        Ok(observed) => observed,
        Err(e) => {
            // Somebody else's ConfigMap in the place of the journal, or no right to look: nothing is done on half a view.
            let after = unread(before, fleet.generation, &trouble(e)?, &Time(at));
            write(world, resource, before, &after, memory).await?;
            world.metrics.show(&fleet.namespace, fleet.name.as_str(), &after);
            return Ok(world.resync);
        }
    };
    let mut troubles = Vec::new();
    // Certificates and Secrets come first: pods wait for them.
    let certificates = certificates(world, fleet, memory, &mut troubles).await?;
    let database = secrets(world, fleet, memory, &observed, &mut troubles).await?;
    if let Some(known) = &certificates {
        read::vaults(fleet, known, memory, &mut observed).await;
    }
    let content = Content {
        root: observed.root.clone(),
        jwks: observed.jwks.clone().or_else(|| observed.served_jwks.clone()),
        external_uri_ca: database.authority,
        external_port: database.port,
        web_authority: certificates.as_ref().and_then(|c| c.web_authority.clone()),
    };
    let kinds = Kind::known(|kind| world.seen.knows(kind));
    let plan = |journal: &Journal| planned::objects(world, fleet, journal, &observed, (&content, &kinds));
    let (journal, decision) = decided(world, fleet, &observed, &plan, at.as_millisecond())?;
    let planned = journal.as_ref().map(plan).unwrap_or_default();
    let mut changed = false;
    if !fleet.paused {
        let harmless = !matches!(decision.verdict, Verdict::Lost | Verdict::Contradiction);
        if harmless && journal.is_some() {
            changed |= planned::carry_out(world, fleet, &planned, &kinds, &mut troubles).await?;
        }
        changed |= actions(world, fleet, memory, journal.as_ref(), &observed, &decision, &mut troubles).await;
    }
    troubles.extend(
        observed.jwks_fault.clone().map(|why| Trouble::new(Check::IssuerKeys, "clientAuth.jwks", why)),
    );
    troubles.extend(left_out::troubles(world, fleet));
    troubles.extend(route::troubles(world, fleet, &planned).await);
    let after = after(
        world,
        fleet,
        before,
        Seen {
            observed: &observed,
            decision: &decision,
            journal: journal.as_ref(),
            troubles: &troubles,
            planned: &planned,
            database: database::reached(world, fleet, &observed).await,
            listed: certificates.as_ref().map(|c| c.listed.as_slice()).unwrap_or_default(),
            now: Time(at),
        },
    );
    write(world, resource, before, &after, memory).await?;
    world.metrics.show(&fleet.namespace, fleet.name.as_str(), &after);
    if changed || *before != after {
        memory.moved = Some(Instant::now());
    }
    Ok(pause(world, memory, changed, &after))
}

/// Sees to the certificates. None: there are none to speak to vaults with.
async fn certificates(
    world: &World,
    fleet: &Fleet,
    memory: &mut Memory,
    troubles: &mut Vec<Trouble>,
) -> Result<Option<Arc<Certificates>>, ApplyError> {
    let known = |memory: &Memory| memory.pki.as_ref().map(|(_, _, known)| known.clone());
    if fleet.paused {
        return Ok(known(memory));
    }
    Ok(match pki::ensure(world, fleet, memory).await {
        Ok((known, flaws)) => {
            troubles.extend(flaws);
            known
        }
        Err(CertificateError::Apply(e)) => {
            troubles.push(trouble(e)?);
            None
        }
        Err(e) => {
            // The ones from before still open the doors: a fleet that serves is not called down for this.
            troubles.push(e.trouble(fleet));
            known(memory)
        }
    })
}

/// Sees to PINs and the database's Secrets.
async fn secrets(
    world: &World,
    fleet: &Fleet,
    memory: &mut Memory,
    observed: &Observed,
    troubles: &mut Vec<Trouble>,
) -> Result<Database, ApplyError> {
    if let Some((at, generation, database)) = memory.secrets
        && (fleet.paused || (generation == fleet.generation && at.elapsed() < world.resync))
    {
        return Ok(database);
    }
    if fleet.paused {
        return Ok(Database::default());
    }
    let before = troubles.len();
    // Only while there can be no token that an earlier PIN opens.
    let new = match &observed.journal {
        Ok(None) => true,
        Ok(Some(journal)) => journal.stage == Stage::Begun,
        Err(_) => false,
    };
    let may_make = new && observed.claims.iter().all(|c| !c.bound);
    let secrets = Secrets::of(world, fleet);
    match secrets.pins(may_make).await {
        Ok(found) => troubles.extend(found),
        Err(e) => troubles.push(trouble(e)?),
    }
    let mut database = Database::default();
    match secrets.database().await {
        Ok((found, seen)) => {
            troubles.extend(found);
            database = seen;
        }
        Err(e) => troubles.push(trouble(e)?),
    }
    // What is amiss is looked at each time.
    memory.secrets = (troubles.len() == before).then(|| (Instant::now(), fleet.generation, database));
    Ok(database)
}

/// Carries the decided actions out, up to the first that fails; true if something was changed.
async fn actions(
    world: &World,
    fleet: &Fleet,
    memory: &Memory,
    journal: Option<&Journal>,
    observed: &Observed,
    decision: &Decision,
    troubles: &mut Vec<Trouble>,
) -> bool {
    let mut changed = false;
    for action in decision.actions.clone() {
        let step = action.name();
        match act(world, fleet, memory, journal, &observed.request, action).await {
            Ok(wrote) => {
                if wrote {
                    tracing::info!(vault = %fleet.name, namespace = fleet.namespace, step, "done");
                }
                changed |= wrote;
            }
            Err(e) => {
                world.metrics.errors.with_label_values(&[step]).inc();
                troubles.push(Trouble::new(Check::StepFailed, step, e.to_string()));
                break;
            }
        }
    }
    changed
}

/// Before the next look.
fn pause(world: &World, memory: &Memory, changed: bool, after: &BackupKeyVaultStatus) -> Duration {
    let ready = after
        .conditions
        .iter()
        .any(|c| c.type_ == Condition::Ready.name() && c.status == Status::True.name());
    match (changed, ready && after.waits.is_empty()) {
        (true, false) => SOON,
        (true, true) => WHILE_WORKING,
        // What has not moved for long waits for a person; and pods, volumes and workloads wake us when they change.
        (false, false) if memory.moved.is_some_and(|m| m.elapsed() < LIVELY) => {
            WHILE_WORKING.max(world.resync / 10)
        }
        (false, _) => world.resync,
    }
}
