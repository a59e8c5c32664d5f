//! Checks a certificate that another issuer made. An issuer may drop requested names or usages and still report success. The check turns this into a
//! trouble in the status instead of a vault that refuses every connection.

use super::leaf::Names;
use super::seen::{SeenCertificate, read_chain};

/// The beginning of every role name.
const ROLES: &str = "uri:bkv://role/";

/// The content of a Secret.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Files<'a> {
    /// `tls.crt`, PEM.
    pub certificate: &'a [u8],
    /// `tls.key`, PEM.
    pub key: &'a str,
    /// `ca.crt`, PEM.
    pub authority: &'a [u8],
}

/// What is wrong with the content of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    /// No certificate.
    #[error("`tls.crt` holds no certificate")]
    Unreadable,
    /// Not its key.
    #[error("`tls.key` is not the key of its certificate")]
    Key,
    /// `ca.crt` is missing, so the holder can't verify its peers.
    #[error("`ca.crt` holds no authority: use an issuer of a kind that writes one (CA or Vault, not ACME)")]
    Authority,
    /// It has no role, another role, or several roles.
    #[error(
        "its certificate is for {}, and must be for {wanted} alone: the issuer must copy URI names",
        list(found)
    )]
    Role {
        /// What it must be for.
        wanted: String,
        /// What it is for.
        found: Vec<String>,
    },
    /// It lacks DNS names.
    #[error("its certificate does not name {}", list(missing))]
    Names {
        /// Those that it lacks.
        missing: Vec<String>,
    },
    /// It lacks the usage `server` or `client`.
    #[error("its certificate is not good for a {0}: the issuer must copy usages")]
    Use(&'static str),
}

impl Flaw {
    /// True if the issuer would issue the same flaw again, so that a person must act. Missing names do not count: after a change of names the issuer
    /// issues a new certificate.
    pub(crate) const fn is_of_the_issuer(&self) -> bool {
        matches!(self, Self::Authority | Self::Role { .. } | Self::Use(_))
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "no role".to_owned() } else { names.join(", ") }
}

/// The worst flaw, if there is one.
pub(crate) fn flaw(files: Files<'_>, names: &Names) -> Option<Flaw> {
    let Some(leaf) = read_chain(files.certificate).and_then(|c| c.into_iter().next()) else {
        return Some(Flaw::Unreadable);
    };
    if !leaf.is_of(files.key) {
        return Some(Flaw::Key);
    }
    role(&leaf, names)
        .or_else(|| used(&leaf, names))
        .or_else(|| hosts(&leaf, names))
        .or_else(|| read_chain(files.authority).is_none().then_some(Flaw::Authority))
}

/// The flaw of the roles. Vaults and ChatD refuse a certificate with a second role, because its holder could act in that role.
fn role(leaf: &SeenCertificate, names: &Names) -> Option<Flaw> {
    let wanted = names.uri.as_ref()?;
    let roles = leaf.names.iter().filter(|n| n.starts_with(ROLES));
    let found: Vec<String> = roles.filter_map(|n| n.strip_prefix("uri:")).map(str::to_owned).collect();
    (found != [wanted.clone()]).then(|| Flaw::Role { wanted: wanted.clone(), found })
}

fn used(leaf: &SeenCertificate, names: &Names) -> Option<Flaw> {
    match (leaf.serves, leaf.calls || names.uri.is_none()) {
        (false, _) => Some(Flaw::Use("server")),
        (true, false) => Some(Flaw::Use("client")),
        (true, true) => None,
    }
}

fn hosts(leaf: &SeenCertificate, names: &Names) -> Option<Flaw> {
    let lacks = |dns: &&String| !leaf.names.contains(&format!("dns:{dns}"));
    let missing: Vec<String> = names.dns.iter().filter(lacks).cloned().collect();
    (!missing.is_empty()).then_some(Flaw::Names { missing })
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SanType};

    use super::*;

    fn certificate(uris: &[&str], dns: &[&str], uses: Vec<ExtendedKeyUsagePurpose>) -> (String, String) {
        let mut params =
            CertificateParams::new(dns.iter().map(|d| (*d).to_owned()).collect::<Vec<_>>()).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|u| SanType::URI(Ia5String::try_from(*u).unwrap())));
        params.extended_key_usages = uses;
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn of(made: &(String, String), names: &Names) -> Option<Flaw> {
        let files = Files { certificate: made.0.as_bytes(), key: &made.1, authority: made.0.as_bytes() };
        flaw(files, names)
    }

    const ROLE: &str = "bkv://role/vault/eu-west";

    fn vault() -> Names {
        Names { common: "demo-eu-west-tls".into(), uri: Some(ROLE.into()), dns: Vec::new() }
    }

    fn web() -> Names {
        Names {
            common: "demo-chatd-web".into(),
            uri: None,
            dns: vec!["a.example".into(), "b.example".into()],
        }
    }

    #[test]
    fn what_was_asked_for_has_no_flaw() {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        assert_eq!(of(&certificate(&[ROLE], &[], vec![ServerAuth, ClientAuth]), &vault()), None);
        // A certificate without usages is good for all. An issuer may add names of its own.
        assert_eq!(of(&certificate(&[ROLE, "spiffe://x/y"], &["x.example"], vec![]), &vault()), None);
        assert_eq!(of(&certificate(&[], &["b.example", "a.example"], vec![ServerAuth]), &web()), None);
    }

    #[test]
    fn a_role_that_is_missing_another_or_not_alone_is_the_issuers_fault() {
        for uris in [&[][..], &["bkv://role/vault/us-east"], &[ROLE, "bkv://role/admin/operator"]] {
            let found = of(&certificate(uris, &["x.example"], vec![]), &vault()).unwrap();
            let uris = uris.iter().map(|u| (*u).to_owned());
            let mut uris: Vec<String> = uris.collect();
            uris.sort();
            assert_eq!(found, Flaw::Role { wanted: ROLE.into(), found: uris });
            assert!(found.is_of_the_issuer() && found.to_string().contains(ROLE));
        }
    }

    #[test]
    fn usages_that_the_issuer_drops_are_found() {
        use ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};
        let role = |uses| of(&certificate(&[ROLE], &[], uses), &vault());
        assert_eq!(role(vec![ServerAuth]), Some(Flaw::Use("client")));
        assert_eq!(role(vec![ClientAuth]), Some(Flaw::Use("server")));
        let web = of(&certificate(&[], &["a.example", "b.example"], vec![CodeSigning]), &web());
        assert_eq!(web, Some(Flaw::Use("server")));
    }

    #[test]
    fn host_names_that_are_missing_come_by_themselves() {
        let found = of(&certificate(&[], &["a.example"], vec![]), &web()).unwrap();
        assert_eq!(found, Flaw::Names { missing: vec!["b.example".into()] });
        assert!(!found.is_of_the_issuer());
    }

    #[test]
    fn files_that_do_not_fit_are_found() {
        let (one, other) = (certificate(&[ROLE], &[], vec![]), certificate(&[ROLE], &[], vec![]));
        assert_eq!(of(&(one.0.clone(), other.1), &vault()), Some(Flaw::Key));
        assert_eq!(of(&("garbage".into(), one.1.clone()), &vault()), Some(Flaw::Unreadable));
        let files = Files { certificate: one.0.as_bytes(), key: &one.1, authority: b"" };
        assert_eq!(flaw(files, &vault()), Some(Flaw::Authority));
    }
}
