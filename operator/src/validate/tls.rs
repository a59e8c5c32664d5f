//! Who issues certificates.

use std::time::Duration;

use super::period::duration;
use super::references::object;
use super::refusal::Refusals;
use crate::conditions::Reason;
use crate::resource as spec;

const HOUR: u64 = 3_600;

/// Who issues certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// The operator.
    Builtin {
        /// How long a CA is valid.
        ca_validity: Duration,
        /// How long a certificate is valid.
        leaf_validity: Duration,
    },
    /// cert-manager.
    CertManager {
        /// The name of the issuer of roles, and of the database's certificate.
        issuer: String,
        /// The name of the issuer of ChatD's public certificate.
        web_issuer: String,
        /// How long a certificate is valid.
        leaf_validity: Duration,
    },
}

pub(super) fn tls(given: &spec::Tls, refusals: &mut Refusals) -> Option<Tls> {
    let mut leaf = |period, field: &str| {
        let validity = duration(period, field, refusals)?;
        if (HOUR..=2_160 * HOUR).contains(&validity.as_secs()) {
            return Some(validity);
        }
        refusals.refuse(field, Reason::OutOfRange, "must be between 1h and 2160h")
    };
    match (&given.builtin, &given.cert_manager) {
        (Some(builtin), None) => {
            let leaf_validity = leaf(&builtin.leaf_validity, "spec.tls.builtin.leafValidity");
            let field = "spec.tls.builtin.caValidity";
            let ca_validity = duration(&builtin.ca_validity, field, refusals);
            let (leaf_validity, ca_validity) = (leaf_validity?, ca_validity?);
            let lasts = ca_validity >= leaf_validity;
            refusals.want(lasts, field, Reason::Conflict, "must be at least leafValidity");
            Some(Tls::Builtin { ca_validity, leaf_validity })
        }
        (None, Some(manager)) => {
            let leaf_validity = leaf(&manager.leaf_validity, "spec.tls.certManager.leafValidity");
            let issuer = manager.issuer_ref.name.clone();
            object(&issuer, "spec.tls.certManager.issuerRef.name", refusals);
            let web_issuer =
                manager.web_issuer_ref.as_ref().map_or_else(|| issuer.clone(), |r| r.name.clone());
            object(&web_issuer, "spec.tls.certManager.webIssuerRef.name", refusals);
            Some(Tls::CertManager { issuer, web_issuer, leaf_validity: leaf_validity? })
        }
        _ => {
            refusals.refuse("spec.tls", Reason::ExactlyOne, "exactly one of builtin, certManager must be set")
        }
    }
}
