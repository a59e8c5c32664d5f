//! Certificates: what `pki` says is due is done here, in Secrets. Those that cert-manager issues: `issued`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bkv_mtls::Identity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::issued::issued;
use super::secrets::{Content, Secrets};
use super::world::{Certificates, Memory, World, now};
use crate::apply::ApplyError;
use crate::conditions::{Check, Trouble};
use crate::pki::{
    Authorities, Authority, AuthorityDue, LeafDue, Names, PkiError, SeenAuthorities, SeenCertificate,
    authority_due, issue, leaf_due, read_chain,
};
use crate::plan::{CertificateRequest, certificates};
use crate::resource::status::CertificateStatus;
use crate::validate::{Fleet, Tls};

/// Certificates are looked at again after this; a change of the spec is looked at at once.
const AGAIN: Duration = Duration::from_mins(2);

/// Certificates could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// It was not made, and nothing says why.
    #[error("Secret {0} could not be made; tried again")]
    NotMade(String),
}

impl CertificateError {
    /// As something that is waited for.
    pub(super) fn trouble(&self, fleet: &Fleet) -> Trouble {
        match self {
            Self::Pki(PkiError::Authority { secret, .. }) => {
                Trouble::new(Check::CertificateRefused, secret.clone(), self.to_string())
            }
            _ => Trouble::new(Check::Certificate, fleet.names().admin(), self.to_string()),
        }
    }
}

/// Sees to all certificates, and gives what the admin doors need and what is wrong with some.
pub(super) async fn ensure(
    world: &World,
    fleet: &Fleet,
    memory: &mut Memory,
) -> Result<(Option<Arc<Certificates>>, Vec<Trouble>), CertificateError> {
    if let Some((at, about, known)) = &memory.pki
        && at.elapsed() < AGAIN
        && *about == (fleet.uid.clone(), fleet.generation)
    {
        return Ok((Some(known.clone()), Vec::new()));
    }
    let secrets = Secrets::of(world, fleet);
    let requests = certificates(fleet);
    let (seen, flaws) = match &fleet.tls {
        Tls::Builtin { ca_validity, leaf_validity } => {
            (Some(builtin(&secrets, fleet, &requests, *ca_validity, *leaf_validity).await?), Vec::new())
        }
        Tls::CertManager { .. } => issued(&secrets, fleet, &requests).await?,
    };
    let Some(known) = seen.map(Arc::new) else {
        // The ones from before still open the doors.
        return Ok((memory.pki.as_ref().map(|(_, _, known)| known.clone()), flaws));
    };
    // What is no good is looked at again at every pass.
    let about = if flaws.is_empty() { (fleet.uid.clone(), fleet.generation) } else { (String::new(), 0) };
    memory.pki = Some((Instant::now(), about, known.clone()));
    Ok((Some(known), flaws))
}

async fn builtin(
    secrets: &Secrets<'_>,
    fleet: &Fleet,
    requests: &[CertificateRequest],
    ca_validity: Duration,
    leaf_validity: Duration,
) -> Result<Certificates, CertificateError> {
    let (clock, at) = (SystemTime::now(), now().as_second());
    let name = format!("{}-ca", fleet.name);
    let mut leaves = BTreeMap::new();
    for request in requests {
        let found = secrets.ours(&request.secret).await?;
        leaves.insert(request.secret.clone(), found);
    }
    let found = secrets.ours(&name).await?;
    let mut authorities = authorities(&name, found.as_ref())?;
    let current = authorities.as_ref().and_then(|a| a.current.seen());
    let next = authorities.as_ref().and_then(|a| a.next.as_ref()?.seen());
    let old = authorities.as_ref().and_then(|a| read_chain(a.old.as_ref()?.as_bytes())?.into_iter().next());
    let found_leaves: Vec<&Content> = leaves.values().flatten().collect();
    let of_old = found_leaves
        .iter()
        .filter_map(|c| leaf(c))
        .any(|l| old.as_ref().is_some_and(|o| l.authority == o.subject));
    let spread = authorities.as_ref().and_then(|a| a.next.as_ref()).is_some_and(|next| {
        found_leaves.iter().all(|c| c.text("ca.crt").is_some_and(|ca| ca.contains(&next.certificate)))
    });
    let lies = SeenAuthorities {
        current: current.as_ref(),
        next: next.as_ref(),
        old: old.as_ref(),
        since: authorities.as_ref().and_then(|a| a.since),
    };
    let due = authority_due(lies, spread, of_old, at);
    authorities = match (due, authorities) {
        (AuthorityDue::Nothing, a) => a,
        (AuthorityDue::MakeNext, Some(a)) => Some(Authorities {
            next: Some(Authority::generate(fleet.name.as_str(), ca_validity, clock)?),
            since: None,
            ..a
        }),
        (AuthorityDue::Mark, Some(a)) => Some(Authorities { since: Some(at), ..a }),
        (AuthorityDue::Promote, Some(a)) => Some(a.promoted()),
        (AuthorityDue::Retire, Some(a)) => Some(Authorities { old: None, since: None, ..a }),
        (_, _) => Some(Authorities::make(fleet.name.as_str(), ca_validity, clock)?),
    };
    let Some(authorities) = authorities else { return Err(CertificateError::NotMade(name)) };
    if due != AuthorityDue::Nothing {
        tracing::info!(vault = %fleet.name, step = ?due, "certificate authority");
        // Written before anything is signed by it.
        write_authorities(secrets, &name, &authorities).await?;
    }
    let signer = authorities.current.seen().ok_or_else(|| CertificateError::NotMade(name.clone()))?;
    let trusted = authorities.trusted();
    let mut listed = Vec::new();
    let mut admin = None;
    for request in requests {
        let names = names(request);
        let found = leaves.get(&request.secret).and_then(Option::as_ref);
        let kept_trust = found.and_then(|c| c.text("ca.crt")).unwrap_or_default();
        let due = leaf_due(found.and_then(leaf).as_ref(), &names, &signer, (kept_trust, &trusted), at);
        let kept = found.filter(|_| due != LeafDue::Issue);
        let (certificate, key) = if let Some(c) = kept {
            (text(c, "tls.crt").to_string(), text(c, "tls.key"))
        } else {
            let made = issue(&authorities.current, &names, leaf_validity, clock)?;
            (made.certificate, made.key)
        };
        if due != LeafDue::Nothing {
            let data = [
                ("tls.crt", certificate.as_bytes()),
                ("tls.key", key.as_bytes()),
                ("ca.crt", trusted.as_bytes()),
            ];
            secrets.write(&request.secret, "kubernetes.io/tls", data.into(), true).await?;
        }
        listed.extend(chain(&request.secret, certificate.as_bytes(), "Leaf"));
        if matches!(&request.subject, crate::plan::Subject::Role { role: crate::plan::Role::Admin, .. }) {
            admin = Some(identity(&request.secret, &certificate, &key, &trusted)?);
        }
    }
    listed.extend(chain(&name, authorities.current.certificate.as_bytes(), "Authority"));
    let (identity, mark) = admin.ok_or_else(|| CertificateError::NotMade(fleet.names().admin()))?;
    Ok(Certificates { identity, mark, listed, web_authority: Some(trusted) })
}

pub(super) fn identity(
    secret: &str,
    certificate: &str,
    key: &str,
    ca: &str,
) -> Result<(Arc<Identity>, String), PkiError> {
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes())
        .map_err(|e| PkiError::Secret { secret: secret.to_owned(), why: e.to_string() })?;
    use sha2::{Digest as _, Sha256};
    let mark = hex::encode(Sha256::digest([certificate, ca].concat()));
    Ok((identity, mark))
}

pub(super) fn names(request: &CertificateRequest) -> Names {
    // A common name has room for 64 characters (RFC 5280, upper bounds).
    let common = request.secret.chars().take(64).collect();
    Names { common, uri: request.uri(), dns: request.dns().to_vec() }
}

fn text(content: &Content, key: &str) -> Zeroizing<String> {
    Zeroizing::new(content.text(key).unwrap_or_default().to_owned())
}

fn leaf(content: &Content) -> Option<SeenCertificate> {
    // Without its key it is no use.
    let key = content.text("tls.key")?;
    read_chain(content.get("tls.crt")?)?.into_iter().next().filter(|c| c.is_of(key))
}

fn authorities(name: &str, content: Option<&Content>) -> Result<Option<Authorities>, PkiError> {
    let Some(content) = content else { return Ok(None) };
    let pair = |stem: &str| -> Option<Authority> {
        let certificate = content.text(&format!("{stem}.crt"))?.to_owned();
        let key = text(content, &format!("{stem}.key"));
        let seen = read_chain(certificate.as_bytes())?.into_iter().next()?;
        // Found out now, and not when something has to be signed.
        seen.is_of(&key).then_some(Authority { certificate, key })
    };
    let unreadable = || PkiError::Authority {
        secret: name.to_owned(),
        why: "tls.crt and tls.key are no certificate and its key".into(),
    };
    let current = pair("tls").ok_or_else(unreadable)?;
    let old = content.text("old.crt").filter(|c| read_chain(c.as_bytes()).is_some()).map(str::to_owned);
    let since = content.text("since").and_then(|t| t.parse().ok());
    Ok(Some(Authorities { current, next: pair("next"), old, since }))
}

async fn write_authorities(secrets: &Secrets<'_>, name: &str, a: &Authorities) -> Result<(), ApplyError> {
    let mut data: BTreeMap<&str, &[u8]> =
        [("tls.crt", a.current.certificate.as_bytes()), ("tls.key", a.current.key.as_bytes())].into();
    if let Some(next) = &a.next {
        data.insert("next.crt", next.certificate.as_bytes());
        data.insert("next.key", next.key.as_bytes());
    }
    if let Some(old) = &a.old {
        data.insert("old.crt", old.as_bytes());
    }
    let since = a.since.map(|s| s.to_string());
    if let Some(since) = &since {
        data.insert("since", since.as_bytes());
    }
    // It outlives the resource: clients have pinned it, and whoever deletes a resource and applies it again must not lose them.
    secrets.write(name, "kubernetes.io/tls", data, false).await
}

pub(super) fn chain(name: &str, pem: &[u8], kind: &str) -> Vec<CertificateStatus> {
    let links = read_chain(pem).unwrap_or_default();
    links
        .iter()
        .enumerate()
        .filter_map(|(i, link)| {
            let name = if i == 0 { name.to_owned() } else { format!("{name}/{i}") };
            let kind = if i == 0 { kind } else { "Authority" };
            Some(CertificateStatus {
                name,
                kind: kind.to_owned(),
                not_after: Time(Timestamp::from_second(link.not_after).ok()?),
            })
        })
        .collect()
}
