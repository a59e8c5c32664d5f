//! Stage: credentials. PINs of the tokens and Secrets of the database. Pods wait for them, so they come before the plan.
//!
//! `database`, `given` and `pins` read and write Secrets. The operator draws the PINs and passwords that it makes.

mod database;
mod error;
mod given;
mod pins;

use tokio::time::Instant;

pub(crate) use database::ExternalDatabase;
pub(crate) use error::CredentialsError;

use crate::api_server::SecretStore;
use crate::conditions::Trouble;
use crate::context::Context;
use crate::journal::JournalStage;
use crate::observe::Observed;
use crate::validate::Fleet;

/// Secrets that were found good. The operator reads them again only after `resync` or a change of the spec.
#[derive(Clone, Copy)]
pub(crate) struct Cache {
    at: Instant,
    generation: i64,
    external: ExternalDatabase,
}

/// Returns what the plan must know of an external database, and the cache for the next pass.
pub(crate) async fn provide(
    context: &Context,
    fleet: &Fleet,
    observed: &Observed,
    cache: Option<Cache>,
    now: Instant,
) -> Result<(ExternalDatabase, Option<Cache>, Vec<Trouble>), CredentialsError> {
    if let Some(known) = cache
        && (fleet.paused
            || (known.generation == fleet.generation && now.duration_since(known.at) < context.resync))
    {
        return Ok((known.external, cache, Vec::new()));
    }
    if fleet.paused {
        return Ok((ExternalDatabase::default(), cache, Vec::new()));
    }
    // A new PIN is allowed only while no token can exist that an earlier PIN opens.
    let new = match &observed.journal {
        Ok(None) => true,
        Ok(Some(journal)) => journal.stage == JournalStage::Begun,
        Err(_) => false,
    };
    let may_make = new && observed.claims.iter().all(|c| !c.bound);
    let secrets = SecretStore::of(&context.client, fleet);
    let mut troubles = Vec::new();
    match pins::pins(&secrets, fleet, may_make).await {
        Ok(found) => troubles.extend(found),
        Err(e) => troubles.push(e.trouble()?),
    }
    let mut external = ExternalDatabase::default();
    match database::database(&secrets, fleet).await {
        Ok((found, seen)) => {
            troubles.extend(found);
            external = seen;
        }
        Err(e) => troubles.push(e.trouble()?),
    }
    // A faulty Secret is not cached: each pass reads it again.
    let cache = troubles.is_empty().then_some(Cache { at: now, generation: fleet.generation, external });
    Ok((external, cache, troubles))
}
