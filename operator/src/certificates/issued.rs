//! Certificates that cert-manager issues. The operator reads and checks its Secrets and never writes them.

use super::Certificates;
use super::error::CertificateError;
use super::flaw::{Files, Flaw, flaw};
use super::identity::{chain, identity, names};
use super::requests::{CertificateRequest, Role, Subject};
use crate::api_server::{SecretContent, SecretStore};
use crate::conditions::{Check, Trouble};
use crate::paths::{AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE};
use crate::validate::Fleet;

/// Returns the certificates if the operator's own is usable, and what is wrong with the others. Another unusable certificate must not cut the operator off
/// from all vaults.
pub(super) async fn issued(
    secrets: &SecretStore<'_>,
    fleet: &Fleet,
    requests: &[CertificateRequest],
) -> Result<(Option<Certificates>, Vec<Trouble>), CertificateError> {
    let (mut listed, mut troubles) = (Vec::new(), Vec::new());
    let (mut admin, mut web_authority) = (None, None);
    for request in requests {
        let secret = &request.secret;
        let found = match secrets.read(secret).await {
            Ok(found) => found.map(|(content, _)| content),
            Err(e) => {
                troubles.push(e.trouble()?);
                continue;
            }
        };
        if let Some(content) = &found {
            listed.extend(chain(secret, content.get(CERTIFICATE_FILE).unwrap_or_default(), "Leaf"));
            let authority = content.get(AUTHORITY_FILE).unwrap_or_default();
            listed.extend(chain(&format!("{secret}/ca"), authority, "Authority"));
        }
        let content = match judged(request, found) {
            Ok(content) => content,
            Err(trouble) => {
                troubles.push(trouble);
                continue;
            }
        };
        let text = |key: &str| content.text(key).unwrap_or_default();
        if matches!(&request.subject, Subject::Role { role: Role::Admin, .. }) {
            match identity(secret, text(CERTIFICATE_FILE), text(KEY_FILE), text(AUTHORITY_FILE)) {
                Ok(found) => admin = Some(found),
                Err(e) => troubles.push(Trouble::new(Check::Certificate, secret.clone(), e.to_string())),
            }
        }
        if *secret == fleet.names().chatd_web() {
            web_authority = Some(text(AUTHORITY_FILE).to_owned());
        }
    }
    let known = admin.map(|(identity, mark)| Certificates {
        identity,
        mark,
        listed,
        web_authority,
        // cert-manager's issuer decides.
        web_change: None,
    });
    Ok((known, troubles))
}

fn judged(request: &CertificateRequest, content: Option<SecretContent>) -> Result<SecretContent, Trouble> {
    let secret = &request.secret;
    let soft = |message: String| Trouble::new(Check::Certificate, secret.clone(), message);
    let look = format!("`kubectl describe certificate {secret}` shows what it waits for");
    let Some(content) = content.filter(|c| c.get(CERTIFICATE_FILE).is_some_and(|pem| !pem.is_empty())) else {
        return Err(soft(format!("Secret {secret} has no certificate yet: cert-manager issues it; {look}")));
    };
    let files = Files {
        certificate: content.get(CERTIFICATE_FILE).unwrap_or_default(),
        key: content.text(KEY_FILE).unwrap_or_default(),
        authority: content.get(AUTHORITY_FILE).unwrap_or_default(),
    };
    match flaw(files, &names(request)) {
        None => Ok(content),
        Some(bad) if bad.is_of_the_issuer() => {
            let message = format!(
                "Secret {secret}: {bad}; correct the issuer, then delete the Secret: cert-manager issues a new certificate"
            );
            Err(Trouble::new(Check::CertificateRefused, secret.clone(), message))
        }
        Some(bad @ Flaw::Names { .. }) => {
            Err(soft(format!("Secret {secret}: {bad} yet: cert-manager issues a new certificate; {look}")))
        }
        Some(bad) => Err(soft(format!(
            "Secret {secret}: {bad}; if this lasts, delete the Secret: cert-manager issues a new certificate; {look}"
        ))),
    }
}
