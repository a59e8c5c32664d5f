//! S38: the contents of certificate Secrets, which cert-manager or another issuer writes. Nothing panics.

use proptest::prelude::*;

use super::flaw::{Files, Flaw, flaw};
use super::leaf::Names;
use super::read_chain;

fn names() -> Names {
    Names {
        common: "demo-a-tls".into(),
        uri: Some("bkv://role/vault/a".into()),
        dns: vec!["a.example".into()],
    }
}

fn certificate() -> rcgen::Certificate {
    let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap()
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

proptest! {
    #[test]
    fn s38_arbitrary_files_are_no_certificate(bytes in proptest::collection::vec(any::<u8>(), 0..300), key: String, middle in "[A-Za-z0-9+/=\n]{0,200}") {
        let framed = format!("-----BEGIN CERTIFICATE-----\n{middle}\n-----END CERTIFICATE-----\n");
        for certificate in [&bytes, framed.as_bytes()] {
            prop_assert!(read_chain(certificate).is_none());
            let files = Files { certificate, key: &key, authority: certificate };
            prop_assert_eq!(flaw(files, &names()), Some(Flaw::Unreadable));
        }
    }

    #[test]
    fn s38_a_changed_certificate_is_refused_or_read(at: prop::sample::Index, bit in 0u8..8, length: prop::sample::Index) {
        let mut der = certificate().der().to_vec();
        let at = at.index(der.len());
        der[at] ^= 1 << bit;
        if let Some(chain) = read_chain(pem(&der).as_bytes()) {
            prop_assert_eq!(chain.len(), 1);
        }
        der.truncate(length.index(der.len()));
        prop_assert!(read_chain(pem(&der).as_bytes()).is_none());
    }
}
