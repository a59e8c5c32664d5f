//! Certificates of the built-in authorities. Carries out in Secrets what `authority_due` and `leaf_due` decide, for one authority after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bkv_mtls::Identity;

use super::Certificates;
use super::authority::{Authorities, Authority};
use super::authority_due::{AuthorityDue, SeenAuthorities, authority_due, promotes_at};
use super::authority_secret::{authorities, text, write_authorities};
use super::error::CertificateError;
use super::identity::{chain, identity, names};
use super::leaf::issue;
use super::leaf_due::{LeafDue, leaf_due};
use super::requests::{AuthorityKind, CertificateRequest, Role, Subject};
use super::seen::{SeenCertificate, read_chain};
use crate::api_server::{SecretContent, SecretStore};
use crate::conditions::Trouble;
use crate::context::now;
use crate::paths::{AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE};
use crate::resource::status::CertificateStatus;
use crate::validate::Fleet;

/// How long authorities and leaves are valid.
type Validities = (Duration, Duration);

/// Returns the certificates if the operator's own is usable, and what is wrong with the others. Neither the web authority nor the certificate of one part must cut the
/// operator off from all vaults: only a server's error ends the pass.
pub(super) async fn builtin(
    secrets: &SecretStore<'_>,
    fleet: &Fleet,
    requests: &[CertificateRequest],
    validities: Validities,
) -> Result<(Option<Certificates>, Vec<Trouble>), CertificateError> {
    let roles = issued_by(secrets, fleet, AuthorityKind::Role, requests, validities).await?;
    let (mut listed, mut troubles) = (roles.listed, roles.troubles);
    let (web_authority, web_change) =
        match issued_by(secrets, fleet, AuthorityKind::Web, requests, validities).await {
            Ok(web) => {
                listed.extend(web.listed);
                troubles.extend(web.troubles);
                (Some(web.trusted), web.change)
            }
            Err(e) => {
                troubles.push(e.trouble(&fleet.names().web_authority())?);
                // A Gateway goes on verifying the certificate that ChatD has.
                let kept = match secrets.ours(&fleet.names().chatd_web()).await {
                    Ok(kept) => kept,
                    Err(e) => {
                        troubles.push(e.trouble()?);
                        None
                    }
                };
                (kept.as_ref().and_then(|c| c.text(AUTHORITY_FILE)).map(str::to_owned), None)
            }
        };
    let made = roles.admin.map(|(identity, mark)| Certificates {
        identity,
        mark,
        listed,
        web_authority,
        web_change,
    });
    Ok((made, troubles))
}

/// The certificates of one authority.
struct IssuedBy {
    listed: Vec<CertificateStatus>,
    /// The operator's own identity, if this authority signs it and its Secret is usable.
    admin: Option<(Arc<Identity>, String)>,
    /// PEM of the authorities to trust.
    trusted: String,
    /// When the next authority begins to sign, seconds since the epoch. None if there is no next one.
    change: Option<i64>,
    /// What is wrong with single certificates. The others are made.
    troubles: Vec<Trouble>,
}

async fn issued_by(
    secrets: &SecretStore<'_>,
    fleet: &Fleet,
    kind: AuthorityKind,
    requests: &[CertificateRequest],
    (ca_validity, leaf_validity): Validities,
) -> Result<IssuedBy, CertificateError> {
    let (clock, at) = (SystemTime::now(), now().as_second());
    let mut requests: Vec<&CertificateRequest> = requests.iter().filter(|r| r.authority == kind).collect();
    let common = format!("{} {} CA", fleet.name, kind.name());
    let name = match kind {
        AuthorityKind::Role => fleet.names().role_authority(),
        AuthorityKind::Web => fleet.names().web_authority(),
    };
    let (mut leaves, mut troubles) = (BTreeMap::new(), Vec::new());
    for request in &requests {
        match secrets.ours(&request.secret).await {
            Ok(found) => drop(leaves.insert(request.secret.clone(), found)),
            Err(e) => troubles.push(e.trouble()?),
        }
    }
    requests.retain(|r| leaves.contains_key(&r.secret));
    // What can't be read may be a leaf of the old authority, or lack the next one.
    let all_read = troubles.is_empty();
    let found = secrets.ours(&name).await?;
    let mut authorities = authorities(&name, found.as_ref())?;
    let current = authorities.as_ref().and_then(|a| a.current.seen());
    let next = authorities.as_ref().and_then(|a| a.next.as_ref()?.seen());
    let old = authorities.as_ref().and_then(|a| read_chain(a.old.as_ref()?.as_bytes())?.into_iter().next());
    let found_leaves: Vec<&SecretContent> = leaves.values().flatten().collect();
    let of_old = !all_read
        || found_leaves
            .iter()
            .filter_map(|c| leaf(c))
            .any(|l| old.as_ref().is_some_and(|o| l.authority == o.subject));
    let has = |c: &&SecretContent, next: &Authority| {
        c.text(AUTHORITY_FILE).is_some_and(|ca| ca.contains(&next.certificate))
    };
    let next_one = authorities.as_ref().and_then(|a| a.next.as_ref());
    let spread = all_read && next_one.is_some_and(|next| found_leaves.iter().all(|c| has(c, next)));
    let lies = SeenAuthorities {
        current: current.as_ref(),
        next: next.as_ref(),
        old: old.as_ref(),
        since: authorities.as_ref().and_then(|a| a.since),
    };
    let due = authority_due(kind, lies, spread, of_old, at);
    authorities = match (due, authorities) {
        (AuthorityDue::Nothing, a) => a,
        (AuthorityDue::MakeNext, Some(a)) => Some(Authorities {
            next: Some(Authority::generate(&common, ca_validity, clock)?),
            since: None,
            ..a
        }),
        (AuthorityDue::StartOverlap, Some(a)) => Some(Authorities { since: Some(at), ..a }),
        (AuthorityDue::Promote, Some(a)) => Some(a.promoted()),
        (AuthorityDue::Retire, Some(a)) => Some(Authorities { old: None, since: None, ..a }),
        (_, _) => Some(Authorities::make(&common, ca_validity, clock)?),
    };
    let Some(authorities) = authorities else { return Err(CertificateError::NotMade(name)) };
    if due != AuthorityDue::Nothing {
        tracing::info!(vault = %fleet.name, authority = kind.name(), step = ?due, "certificate authority");
        // The authority is stored before it signs: a crash must not leave certificates of an unknown authority.
        write_authorities(secrets, &name, &authorities).await?;
    }
    let signer = authorities.current.seen().ok_or_else(|| CertificateError::NotMade(name.clone()))?;
    let trusted = authorities.trusted();
    let since = authorities.since.filter(|_| authorities.next.is_some());
    let change = since.map(|since| promotes_at(kind, &signer, since));
    let mut listed = Vec::new();
    let mut admin = None;
    for request in requests {
        let names = names(request);
        let found = leaves.get(&request.secret).and_then(Option::as_ref);
        let kept_trust = found.and_then(|c| c.text(AUTHORITY_FILE)).unwrap_or_default();
        let due = leaf_due(found.and_then(leaf).as_ref(), &names, &signer, (kept_trust, &trusted), at);
        let kept = found.filter(|_| due != LeafDue::Issue);
        let (certificate, key) = if let Some(c) = kept {
            (text(c, CERTIFICATE_FILE).to_string(), text(c, KEY_FILE))
        } else {
            let made = issue(&authorities.current, &names, leaf_validity, clock)?;
            (made.certificate, made.key)
        };
        if due != LeafDue::Nothing {
            let data = [
                (CERTIFICATE_FILE, certificate.as_bytes()),
                (KEY_FILE, key.as_bytes()),
                (AUTHORITY_FILE, trusted.as_bytes()),
            ];
            if let Err(e) = secrets.write(&request.secret, "kubernetes.io/tls", data.into(), true).await {
                troubles.push(e.trouble()?);
                continue;
            }
        }
        listed.extend(chain(&request.secret, certificate.as_bytes(), "Leaf"));
        if matches!(&request.subject, Subject::Role { role: Role::Admin, .. }) {
            admin = Some(identity(&request.secret, &certificate, &key, &trusted)?);
        }
    }
    listed.extend(chain(&name, authorities.current.certificate.as_bytes(), "Authority"));
    Ok(IssuedBy { listed, admin, trusted, change, troubles })
}

fn leaf(content: &SecretContent) -> Option<SeenCertificate> {
    // A certificate without its key is unusable.
    let key = content.text(KEY_FILE)?;
    read_chain(content.get(CERTIFICATE_FILE)?)?.into_iter().next().filter(|c| c.is_of(key))
}
