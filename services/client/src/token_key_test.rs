use proptest::prelude::*;

use super::*;

/// `openssl genpkey -algorithm ED25519`, without the public half (RFC 8410, section 10.3).
const ED25519: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";

async fn proves(key: &SoftwareTokenKey) {
    let proof = p::Proof {
        key: key.public().as_bytes().to_vec().into(),
        signature: key.sign(b"statement").await.unwrap().to_vec().into(),
    };
    let named = key.public().thumbprint();
    assert_eq!(bkv_wire::possession::verify(Some(&proof), &named, b"statement"), Ok(()));
}

#[tokio::test]
async fn keys_of_both_kinds_read_from_pem_and_sign() {
    let pem = SoftwareTokenKey::generate().unwrap();
    let made = SoftwareTokenKey::from_pem(&pem).unwrap();
    assert!(matches!(made.public(), TokenPublicKey::P256(_)));
    proves(&made).await;
    assert!(pem.lines().all(|line| line.len() <= 64), "RFC 7468 has lines of 64 characters");
    let other =
        SoftwareTokenKey::from_pem(&format!("a comment\r\n{}", ED25519.replace('\n', "\r\n"))).unwrap();
    assert!(matches!(other.public(), TokenPublicKey::Ed25519(_)));
    proves(&other).await;
    assert!(!format!("{other:?}").contains("1O5y"));
}

proptest! {
    #[test]
    fn s38_a_broken_pem_is_refused(text in "\\PC{0,200}", cut: prop::sample::Index, der in proptest::collection::vec(any::<u8>(), 0..150)) {
        let good = SoftwareTokenKey::generate().unwrap();
        // Behind the end of the base64 text the marker is missing.
        let cut = cut.index(good.len() - END.len());
        for pem in [text, good[..cut].to_owned(), format!("{BEGIN}\n{}\n{END}", STANDARD.encode(der))] {
            prop_assert!(SoftwareTokenKey::from_pem(&pem).is_err());
        }
    }
}
