//! Stage: certificates. Makes the certificates of the two built-in authorities, one for roles and one for the web, or checks those that cert-manager issues. Pods wait for them, so they come before
//! the plan. The operator uses its own certificate (role admin) at the vaults' admin ports.
//!
//! `builtin`, `issued` and `authority_secret` read and write Secrets. `authority` and `leaf` draw random keys. The other files are pure: they decide from
//! values what is due. Every pod trusts a new authority before it signs, and trusts the old one until no leaf of it is left.

mod authority;
mod authority_due;
mod authority_secret;
mod builtin;
mod error;
mod flaw;
mod identity;
mod issued;
mod leaf;
mod leaf_due;
mod renewal;
mod requests;
mod seen;

#[cfg(test)]
mod parser_test;

pub use requests::{AuthorityKind, CertificateRequest, Role, Subject, requests};
pub use seen::{SeenCertificate, read_chain};

use std::sync::Arc;
use std::time::Duration;

use bkv_mtls::Identity;
use tokio::time::Instant;

use crate::api_server::{ObjectError, SecretStore};
use crate::conditions::Trouble;
use crate::context::Context;
use crate::resource::status::CertificateStatus;
use crate::validate::{Fleet, Tls};
use error::CertificateError;

/// Certificates are checked again after this time, and at once after a change of the spec.
const AGAIN: Duration = Duration::from_mins(2);

/// The certificates of a fleet as they were last read.
pub(crate) struct Certificates {
    /// The operator's, for the admin ports.
    pub identity: Arc<Identity>,
    /// Differs between identities.
    pub mark: String,
    /// For the status.
    pub listed: Vec<CertificateStatus>,
    /// PEM of the authority that signs ChatD's web certificate.
    pub web_authority: Option<String>,
    /// When the next web authority begins to sign, seconds since the epoch. None if there is no next one.
    pub web_change: Option<i64>,
}

/// The certificates of the last pass.
#[derive(Clone)]
pub(crate) struct Cache {
    at: Instant,
    /// The generation that they were found good for. None if one of them was not.
    good_for: Option<i64>,
    known: Arc<Certificates>,
}

/// Returns the usable certificates, and the cache for the next pass.
pub(crate) async fn provide(
    context: &Context,
    fleet: &Fleet,
    cache: Option<Cache>,
    now: Instant,
) -> Result<(Option<Arc<Certificates>>, Option<Cache>, Vec<Trouble>), ObjectError> {
    let known = cache.as_ref().map(|c| c.known.clone());
    let good = cache
        .as_ref()
        .is_some_and(|c| now.duration_since(c.at) < AGAIN && c.good_for == Some(fleet.generation));
    if fleet.paused || good {
        return Ok((known, cache, Vec::new()));
    }
    match ensure(context, fleet).await {
        Ok((Some(found), troubles)) => {
            let known = Arc::new(found);
            let good_for = troubles.is_empty().then_some(fleet.generation);
            let cache = Cache { at: now, good_for, known: known.clone() };
            Ok((Some(known), Some(cache), troubles))
        }
        // The earlier certificates still work: a serving fleet stays ready.
        Ok((None, troubles)) => Ok((known, cache, troubles)),
        // No authority can be read and nothing made, so the operator goes on with what it knows.
        Err(e) => Ok((known, cache, vec![e.trouble(&fleet.names().role_authority())?])),
    }
}

async fn ensure(
    context: &Context,
    fleet: &Fleet,
) -> Result<(Option<Certificates>, Vec<Trouble>), CertificateError> {
    let secrets = SecretStore::of(&context.client, fleet);
    let requests = requests(fleet);
    match &fleet.tls {
        Tls::Builtin { ca_validity, leaf_validity } => {
            let validities = (*ca_validity, *leaf_validity);
            builtin::builtin(&secrets, fleet, &requests, validities).await
        }
        Tls::CertManager { .. } => issued::issued(&secrets, fleet, &requests).await,
    }
}
