//! Reads what certificates certify: the operator's own identity, and the chains for the status.

use std::sync::Arc;

use bkv_mtls::Identity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::error::PkiError;
use super::leaf::Names;
use super::requests::CertificateRequest;
use super::seen::read_chain;
use crate::resource::status::CertificateStatus;

pub(super) fn identity(
    secret: &str,
    certificate: &str,
    key: &str,
    ca: &str,
) -> Result<(Arc<Identity>, String), PkiError> {
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes())
        .map_err(|e| PkiError::Secret { secret: secret.to_owned(), why: e.to_string() })?;
    let mark = hex::encode(Sha256::digest([certificate, ca].concat()));
    Ok((identity, mark))
}

pub(super) fn names(request: &CertificateRequest) -> Names {
    // A common name has room for 64 characters (RFC 5280, upper bounds).
    let common = request.secret.chars().take(64).collect();
    Names { common, uri: request.uri(), dns: request.dns().to_vec() }
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
