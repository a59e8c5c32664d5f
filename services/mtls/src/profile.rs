//! The fields of every certificate that this project issues: CAs and their leaves. `bkv dev` and the operator issue with the same fields, so a
//! fleet in a cluster gets no certificate that the tests have not seen.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, Error, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType,
};

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// `notBefore`.
    pub from: SystemTime,
    /// `notAfter`.
    pub until: SystemTime,
}

/// A CA that issues leaves only: an attacker who steals a leaf's key can't issue certificates with it.
pub fn authority(common_name: &str, validity: Validity) -> Result<CertificateParams, Error> {
    let mut params = named(common_name, validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// A leaf for a role: it is a TLS server and a TLS client.
pub fn role(common_name: &str, names: Vec<SanType>, validity: Validity) -> Result<CertificateParams, Error> {
    let both = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    leaf(common_name, names, both, validity)
}

/// A leaf for a TLS server with DNS names. It can't be a client.
pub fn server(
    common_name: &str,
    names: Vec<SanType>,
    validity: Validity,
) -> Result<CertificateParams, Error> {
    leaf(common_name, names, vec![ExtendedKeyUsagePurpose::ServerAuth], validity)
}

fn leaf(
    common_name: &str,
    names: Vec<SanType>,
    uses: Vec<ExtendedKeyUsagePurpose>,
    validity: Validity,
) -> Result<CertificateParams, Error> {
    let mut params = named(common_name, validity)?;
    params.subject_alt_names = names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = uses;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn named(common_name: &str, validity: Validity) -> Result<CertificateParams, Error> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let mut params = CertificateParams::new(Vec::new())?;
    params.not_before = epoch + since(validity.from);
    params.not_after = epoch + since(validity.until);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}
