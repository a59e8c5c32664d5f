//! Plays cert-manager: issues each requested Certificate from its own authority, either by its spec or with a fault.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use serde_json::{Value, json};

use crate::TestNamespace;

/// How an issuer may deviate from a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// By the spec.
    Good,
    /// Replaces URI names by a DNS name.
    NoUris,
    /// Issues for servers only, like public web authorities.
    ServersOnly,
    /// Leaves `ca.crt` out, like ACME.
    NoAuthority,
    /// Adds a role that was not requested.
    MoreRoles,
}

pub(crate) struct CertManager {
    authority: String,
    issuer: Issuer<'static, KeyPair>,
    habit: Mutex<Habit>,
}

impl CertManager {
    pub(crate) fn new(habit: Habit) -> Arc<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap().pem();
        Arc::new(Self { authority, issuer: Issuer::new(params, key), habit: Mutex::new(habit) })
    }

    pub(crate) fn behave(&self, habit: Habit) {
        *self.habit.lock().unwrap() = habit;
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// One round: issues for each Certificate without a Secret, or with one for another spec. Returns how many it issued.
    pub(crate) async fn round(&self, place: &TestNamespace<'_>) -> usize {
        let mut given = 0;
        for certificate in place.all("Certificate").await {
            let spec = &certificate["spec"];
            let name = spec["secretName"].as_str().unwrap();
            let asked = spec.to_string();
            let found = place.get("Secret", name).await;
            if found.is_some_and(|s| s["metadata"]["annotations"]["test/asked"] == asked) {
                continue;
            }
            self.give(place, spec, name, &asked).await;
            given += 1;
        }
        given
    }

    async fn give(&self, place: &TestNamespace<'_>, spec: &Value, name: &str, asked: &str) {
        let habit = *self.habit.lock().unwrap();
        let (certificate, key) = self.issue(spec, habit);
        let authority = if habit == Habit::NoAuthority { "" } else { &self.authority };
        let data = [("tls.crt", certificate.as_str()), ("tls.key", &key), ("ca.crt", authority)];
        let data: serde_json::Map<_, _> =
            data.iter().map(|(k, v)| ((*k).to_owned(), STANDARD.encode(v).into())).collect();
        let metadata =
            json!({ "annotations": { "test/asked": asked }, "labels": spec["secretTemplate"]["labels"] });
        place
            .put("Secret", name, json!({ "metadata": metadata, "type": "kubernetes.io/tls", "data": data }))
            .await;
    }

    fn issue(&self, spec: &Value, habit: Habit) -> (String, String) {
        let list = |field: &str| -> Vec<String> {
            let all = spec[field].as_array().into_iter().flatten();
            all.map(|v| v.as_str().unwrap().to_owned()).collect()
        };
        let key = &spec["privateKey"];
        assert_eq!(
            (&key["algorithm"], &key["size"], &key["encoding"]),
            (&json!("ECDSA"), &json!(256), &json!("PKCS8"))
        );
        let mut uris = list("uris");
        let mut params = CertificateParams::new(list("dnsNames")).unwrap();
        match habit {
            Habit::NoUris if !uris.is_empty() => {
                uris.clear();
                params = CertificateParams::new(vec!["nobody.example".to_owned()]).unwrap();
            }
            Habit::MoreRoles if !uris.is_empty() => uris.push("bkv://role/admin/another".into()),
            _ => {}
        }
        params
            .subject_alt_names
            .extend(uris.iter().map(|u| SanType::URI(Ia5String::try_from(u.as_str()).unwrap())));
        for usage in list("usages") {
            match usage.as_str() {
                "digital signature" => params.key_usages.push(KeyUsagePurpose::DigitalSignature),
                "server auth" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth),
                "client auth" if habit == Habit::ServersOnly => {}
                "client auth" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth),
                other => panic!("a usage that cert-manager may not know: {other}"),
            }
        }
        params.use_authority_key_identifier_extension = true;
        let life = spec["duration"].as_str().unwrap();
        let hours =
            life.strip_suffix("h0m0s").and_then(|h| h.parse().ok()).expect("whole hours, as Go writes them");
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since;
        params.not_after = params.not_before + Duration::from_hours(hours);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}
