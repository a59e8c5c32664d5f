use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use bkv_fixtures::{eventually_async, mount};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::claims::MAX_LIFETIME;
use crate::dev::{DevClaims, DevIssuer};
use crate::keys::Keys;
use crate::{
    Claims, Confirmation, KeyRing, KeySource, KeysError, MAX_KEY_AGE, Refresh, Settings, Subject, TokenError,
    Verifier,
};

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://id.example";
/// The thumbprint in RFC 9449, section 6.1.
const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

static DEV: LazyLock<DevIssuer> = LazyLock::new(|| DevIssuer::generate(ISSUER).unwrap());
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(verifier(DEV.jwks()))
});

fn settings() -> Settings {
    Settings {
        issuer: ISSUER.into(),
        audience: "chatd".into(),
        enrolment_claim: Some("enrolment".into()),
        leeway: 30,
        max_age: None,
        confirmation: Confirmation::IfPresent,
    }
}
async fn verifier(jwks: String) -> Verifier {
    Verifier::new(settings(), KeyRing::load(KeySource::Inline(jwks)).await.unwrap())
}
fn good() -> DevClaims<'static> {
    DevClaims { subject: "alice", audience: "chatd", now: NOW, lifetime: 300, enrolment: Some(2) }
}
fn header() -> Value {
    json!({"alg": "EdDSA", "kid": DEV.key_id()})
}
fn with(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> String {
    let mut claims =
        json!({"iss": ISSUER, "sub": "alice", "aud": "chatd", "iat": NOW, "nbf": NOW, "exp": NOW + 300});
    change(claims.as_object_mut().unwrap());
    DEV.sign_raw(&header(), &claims)
}
fn judged(token: &str) -> Result<Claims, TokenError> {
    VERIFIER.verify(token, NOW)
}

#[test]
fn a_good_token_names_its_subject() {
    let want = Subject { issuer: ISSUER.into(), subject: "alice".into(), enrolment: Some(2) };
    assert_eq!(judged(&DEV.sign(&good())), Ok(Claims { subject: want, key: None, expires: NOW + 300 }));
    assert_eq!(judged(&with(|_| {})).unwrap().subject.enrolment, None);
    assert!(judged(&with(|c| _ = c.insert("aud".into(), json!(["chatd"])))).is_ok());
    let seventh = judged(&with(|c| _ = c.insert("enrolment".into(), json!("7")))).unwrap();
    assert_eq!(seventh.subject.enrolment, Some(7));
}

#[test]
fn s17_every_way_to_be_wrong_has_its_own_error() {
    let set = |name: &'static str, value: Value| with(move |c| _ = c.insert(name.into(), value));
    let cases = [
        (set("iss", json!("https://id.example/")), TokenError::Issuer),
        (with(|c| _ = c.remove("iss")), TokenError::Issuer),
        (set("aud", json!("vault")), TokenError::Audience),
        (set("aud", json!(["chatd", "vault"])), TokenError::Audience),
        (with(|c| _ = c.remove("aud")), TokenError::Audience),
        (set("exp", json!(NOW - 30)), TokenError::Expired),
        (with(|c| _ = c.remove("exp")), TokenError::Times),
        (set("exp", json!("soon")), TokenError::Times),
        (set("nbf", json!(NOW + 31)), TokenError::NotYet),
        (set("iat", json!(NOW + 31)), TokenError::NotYet),
        (with(|c| _ = c.remove("sub")), TokenError::Subject),
        (set("sub", json!("")), TokenError::Subject),
        (set("sub", json!("x".repeat(256))), TokenError::Subject),
        (set("enrolment", json!(-1)), TokenError::Enrolment),
        (set("cnf", Value::Null), TokenError::Confirmation),
        (set("cnf", json!(JKT)), TokenError::Confirmation),
        (set("cnf", json!({})), TokenError::Confirmation),
        (set("cnf", json!({"x5t#S256": JKT})), TokenError::Confirmation),
        (set("cnf", json!({"jkt": format!("{JKT}=")})), TokenError::Confirmation),
        (set("cnf", json!({"jkt": "a".repeat(42)})), TokenError::Confirmation),
        (set("cnf", json!({"jkt": [JKT]})), TokenError::Confirmation),
        (set("long", json!("x".repeat(4096))), TokenError::TooLong),
        (set("exp", json!(NOW + MAX_LIFETIME + 1)), TokenError::Lifetime),
        (
            with(|c| (_, _) = (c.remove("iat"), c.insert("exp".into(), json!(NOW + MAX_LIFETIME + 1)))),
            TokenError::Lifetime,
        ),
        ("a.b".into(), TokenError::Malformed),
        (String::new(), TokenError::Malformed),
    ];
    for (token, want) in cases {
        assert_eq!(judged(&token), Err(want));
    }
    assert!(judged(&set("exp", json!(NOW - 29))).is_ok(), "within the leeway");
    assert!(judged(&set("nbf", json!(NOW + 30))).is_ok(), "within the leeway");
}

/// S46: a token that names a key is no bearer token, unless the service checks no proofs at all (RFC 7800, section 3).
#[tokio::test]
async fn s46_a_bound_token_names_its_key_and_only_then() {
    let key: [u8; 32] = B64.decode(JKT).unwrap().try_into().unwrap();
    let (bound, bearer) = (DEV.sign_bound(&good(), JKT), DEV.sign(&good()));
    let beside = with(|c| _ = c.insert("cnf".into(), json!({"jkt": JKT, "later": 1})));
    let ring = KeyRing::load(KeySource::Inline(DEV.jwks())).await.unwrap();
    let under = |confirmation| Verifier::new(Settings { confirmation, ..settings() }, ring.clone());
    for (confirmation, of_bound, of_bearer) in [
        (Confirmation::Ignored, None, Ok(None)),
        (Confirmation::IfPresent, Some(key), Ok(None)),
        (Confirmation::Required, Some(key), Err(TokenError::Unbound)),
    ] {
        let verifier = under(confirmation);
        let named = |token: &str| verifier.verify(token, NOW).map(|c| c.key);
        // Twice: the second answer is the cache's.
        for _ in 0..2 {
            assert_eq!(named(&bound), Ok(of_bound), "{confirmation:?}");
            assert_eq!(named(&beside), Ok(of_bound), "{confirmation:?}");
            assert_eq!(named(&bearer), of_bearer, "{confirmation:?}");
        }
    }
}

#[test]
fn s17_headers_cannot_choose_the_algorithm_or_key() {
    let claims = json!({"iss": ISSUER, "sub": "alice", "aud": "chatd", "exp": NOW + 300});
    let kid = DEV.key_id();
    let cases = [
        (json!({"alg": "none"}), TokenError::Algorithm),
        (json!({"alg": "None", "kid": kid}), TokenError::Algorithm),
        (json!({"alg": "HS256", "kid": kid}), TokenError::Algorithm),
        (json!({"alg": "ES384", "kid": kid}), TokenError::Algorithm),
        (json!({"alg": "ES256", "kid": kid}), TokenError::KeyType),
        (json!({"alg": "RS256", "kid": kid}), TokenError::KeyType),
        (json!({"alg": "EdDSA", "kid": "other"}), TokenError::UnknownKey),
        (json!({"alg": "EdDSA", "kid": kid, "crit": ["b64"], "b64": false}), TokenError::Critical),
        (json!({"alg": "EdDSA", "kid": kid, "typ": "logout+jwt"}), TokenError::Type),
        (json!({"alg": "EdDSA", "kid": kid, "typ": "application/secevent+jwt"}), TokenError::Type),
        (json!({"alg": "EdDSA", "kid": kid, "typ": ""}), TokenError::Type),
        (json!({"kid": kid}), TokenError::Malformed),
        (json!([]), TokenError::Malformed),
    ];
    for (header, want) in cases {
        assert_eq!(judged(&DEV.sign_raw(&header, &claims)), Err(want), "{header}");
    }
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT"] {
        assert!(
            judged(&DEV.sign_raw(&json!({"alg": "EdDSA", "kid": kid, "typ": typ}), &claims)).is_ok(),
            "{typ}"
        );
    }
    let unsigned = format!("{}.{}.", B64.encode(header().to_string()), B64.encode(claims.to_string()));
    assert_eq!(judged(&unsigned), Err(TokenError::Signature));
    let other = DevIssuer::generate(ISSUER).unwrap();
    assert_eq!(judged(&other.sign_raw(&header(), &claims)), Err(TokenError::Signature));
}

#[tokio::test]
async fn es256_and_rs256_are_judged_too() {
    let claims = json!({"iss": ISSUER, "sub": "alice", "aud": "chatd", "exp": NOW + 300});
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = ec.public_key().as_ref();
    let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let (n, e) = (rsa.public_key().modulus(), rsa.public_key().exponent());
    let jwks = json!({"keys": [
        {"kty": "oct", "kid": "h", "k": "AAAA"}, {"kty": "new", "kid": "?"},
        {"kty": "EC", "crv": "P-256", "kid": "e", "x": B64.encode(&point[1..33]), "y": B64.encode(&point[33..])},
        {"kty": "RSA", "kid": "r", "n": B64.encode(n.big_endian_without_leading_zero()), "e": B64.encode(e.big_endian_without_leading_zero())},
        {"kty": "RSA", "use": "enc", "kid": "x", "n": B64.encode(n.big_endian_without_leading_zero()), "e": "AQAB"},
    ]});
    let verifier = verifier(jwks.to_string()).await;
    let sign = |alg: &str, kid: &str| {
        let input = format!(
            "{}.{}",
            B64.encode(json!({"alg": alg, "kid": kid}).to_string()),
            B64.encode(claims.to_string())
        );
        let random = aws_lc_rs::rand::SystemRandom::new();
        let signature = if alg == "ES256" {
            ec.sign(&random, input.as_bytes()).unwrap().as_ref().to_vec()
        } else {
            let mut out = vec![0; rsa.public_modulus_len()];
            rsa.sign(&RSA_PKCS1_SHA256, &random, input.as_bytes(), &mut out).unwrap();
            out
        };
        format!("{input}.{}", B64.encode(signature))
    };
    assert!(verifier.verify(&sign("ES256", "e"), NOW).is_ok());
    assert!(verifier.verify(&sign("RS256", "r"), NOW).is_ok());
    assert_eq!(verifier.verify(&sign("RS256", "e"), NOW), Err(TokenError::KeyType));
    assert_eq!(
        verifier.verify(&sign("RS256", "x"), NOW),
        Err(TokenError::UnknownKey),
        "a key for encryption"
    );
    assert_eq!(verifier.verify(&sign("RS256", "h"), NOW), Err(TokenError::UnknownKey), "a symmetric key");
}

/// A rooted region that has seen a token can use it for minutes only, whatever its `exp` is.
#[tokio::test]
async fn s17_a_vaults_token_ends_soon_after_it_was_issued() {
    let ring = KeyRing::load(KeySource::Inline(DEV.jwks())).await.unwrap();
    let verifier = Verifier::new(Settings { max_age: Some(600), ..settings() }, ring);
    let hour = |iat: Value| {
        with(|c| (_, _) = (c.insert("iat".into(), iat), c.insert("exp".into(), json!(NOW + 3000))))
    };
    assert_eq!(verifier.verify(&with(|c| _ = c.remove("iat")), NOW), Err(TokenError::Times));
    assert_eq!(verifier.verify(&hour(json!(NOW - 630)), NOW), Err(TokenError::TooOld));
    let token = hour(json!(NOW - 600));
    assert_eq!(verifier.verify(&token, NOW + 29).unwrap().expires, NOW, "within the leeway");
    assert_eq!(verifier.verify(&token, NOW + 30), Err(TokenError::TooOld), "also when cached");
    assert_eq!(verifier.verify(&with(|_| {}), NOW).unwrap().expires, NOW + 300, "exp comes first");
    assert!(judged(&hour(json!(NOW - 20_000))).is_ok(), "a verifier without a longest age takes it");
}

#[tokio::test]
async fn s17_a_cached_token_ends_with_its_time_and_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    std::fs::write(&path, DEV.jwks()).unwrap();
    let ring = KeyRing::load(KeySource::File(path.clone())).await.unwrap();
    let verifier = Verifier::new(settings(), ring.clone());
    let token = DEV.sign(&good());
    assert!(verifier.verify(&token, NOW - 31).is_err());
    assert_eq!(verifier.cached(), 0, "a refusal is not cached");
    for _ in 0..2 {
        assert!(verifier.verify(&token, NOW).is_ok());
        assert_eq!(verifier.cached(), 1);
    }
    assert_eq!(verifier.verify(&token, NOW - 31), Err(TokenError::NotYet), "a clock that was put back");
    assert!(verifier.verify(&token, NOW).is_ok());
    std::fs::write(&path, DevIssuer::generate(ISSUER).unwrap().jwks()).unwrap();
    ring.refresh().await.unwrap();
    assert_eq!(verifier.verify(&token, NOW), Err(TokenError::UnknownKey), "its key was withdrawn");
    std::fs::write(&path, DEV.jwks()).unwrap();
    ring.refresh().await.unwrap();
    assert!(verifier.verify(&token, NOW).is_ok());
    assert_eq!(verifier.verify(&token, NOW + 330), Err(TokenError::Expired));
    assert_eq!(verifier.cached(), 0);
}

/// An issuer that rotates its keys under one `kid` publishes two keys with it for a while.
#[tokio::test]
async fn every_key_with_the_tokens_kid_is_tried() {
    let other = DevIssuer::generate(ISSUER).unwrap();
    let key = |issuer: &DevIssuer| {
        let mut jwks: Value = serde_json::from_str(&issuer.jwks()).unwrap();
        jwks["keys"][0]["kid"] = json!("same");
        jwks["keys"][0].take()
    };
    let verifier = verifier(json!({"keys": [key(&DEV), key(&other)]}).to_string()).await;
    let claims = json!({"iss": ISSUER, "sub": "alice", "aud": "chatd", "exp": NOW + 300});
    let header = json!({"alg": "EdDSA", "kid": "same"});
    assert!(verifier.verify(&DEV.sign_raw(&header, &claims), NOW).is_ok());
    assert!(verifier.verify(&other.sign_raw(&header, &claims), NOW).is_ok());
    let third = DevIssuer::generate(ISSUER).unwrap();
    assert_eq!(verifier.verify(&third.sign_raw(&header, &claims), NOW), Err(TokenError::Signature));
}

#[test]
fn a_document_with_more_keys_than_are_kept_is_refused() {
    let keys = |n: usize| {
        let jwks: Value = serde_json::from_str(&DEV.jwks()).unwrap();
        json!({"keys": vec![jwks["keys"][0].clone(); n]}).to_string()
    };
    assert!(Keys::parse(keys(64).as_bytes()).is_ok());
    assert!(matches!(Keys::parse(keys(65).as_bytes()), Err(KeysError::TooMany(65))));
}

#[tokio::test]
async fn an_unknown_key_fetches_the_file_again_and_a_bad_file_keeps_the_last_keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    std::fs::write(&path, DEV.jwks()).unwrap();
    let ring = KeyRing::load(KeySource::File(path.clone())).await.unwrap();
    let stop = CancellationToken::new();
    let refresh = Refresh { every: Duration::from_hours(1), at_most_every: Duration::from_millis(10) };
    let task = tokio::spawn(Arc::clone(&ring).run(refresh, stop.clone()));
    let verifier = Verifier::new(settings(), Arc::clone(&ring));
    assert!(ring.refreshed() > 0);

    let next = DevIssuer::generate(ISSUER).unwrap();
    std::fs::write(&path, next.jwks()).unwrap();
    let patience = Duration::from_secs(20);
    assert!(verifier.verify_or_refresh(&next.sign(&good()), NOW, patience).await.is_ok());

    std::fs::write(&path, "{").unwrap();
    assert_eq!(
        verifier.verify_or_refresh(&DEV.sign(&good()), NOW, patience).await,
        Err(TokenError::UnknownKey)
    );
    assert!(verifier.verify(&next.sign(&good()), NOW).is_ok(), "the last good keys stay");
    stop.cancel();
    task.await.unwrap();
}

/// An attacker who keeps the fetch from succeeding has a withdrawn key believed for a day at most.
#[tokio::test(start_paused = true)]
async fn s17_keys_older_than_a_day_verify_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    std::fs::write(&path, DEV.jwks()).unwrap();
    let ring = KeyRing::load(KeySource::File(path.clone())).await.unwrap();
    let inline = verifier(DEV.jwks()).await;
    let verifier = Verifier::new(settings(), ring.clone());
    let token = DEV.sign(&good());
    tokio::time::advance(MAX_KEY_AGE).await;
    assert!(verifier.verify(&token, NOW).is_ok() && ring.is_fresh());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(verifier.verify(&token, NOW), Err(TokenError::KeysTooOld), "also a cached token");
    assert!(!ring.is_fresh());
    std::fs::remove_file(&path).unwrap();
    assert!(ring.refresh().await.is_err() && !ring.is_fresh());
    std::fs::write(&path, DEV.jwks()).unwrap();
    ring.refresh().await.unwrap();
    assert!(verifier.verify(&token, NOW).is_ok() && ring.is_fresh());
    assert!(inline.verify(&token, NOW).is_ok(), "the root signed these keys");
}

/// A key that leaves the mounted ConfigMap is refused, although no token with an unknown key asks for a fetch.
#[tokio::test]
async fn a_key_that_leaves_the_file_is_soon_refused() {
    let dir = tempfile::tempdir().unwrap();
    let put = |version, issuer: &DevIssuer| mount(dir.path(), version, &[("jwks.json", &issuer.jwks())]);
    put("..1", &DEV);
    let source = KeySource::File(dir.path().join("jwks.json"));
    assert!(source.every(Refresh::default().every) <= Duration::from_secs(10));
    let ring = KeyRing::load(source).await.unwrap();
    let stop = CancellationToken::new();
    let refresh = Refresh { every: Duration::from_millis(10), ..Refresh::default() };
    let task = tokio::spawn(Arc::clone(&ring).run(refresh, stop.clone()));
    let verifier = Verifier::new(settings(), ring);
    assert!(verifier.verify(&DEV.sign(&good()), NOW).is_ok());
    put("..2", &DevIssuer::generate(ISSUER).unwrap());
    let old = DEV.sign(&good());
    eventually_async("the key is refused", || verifier.verify(&old, NOW).is_err()).await;
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn sources_fail_early_unless_remote() {
    assert!(matches!(KeyRing::load(KeySource::Inline("{}".into())).await, Err(KeysError::Malformed(_))));
    assert!(matches!(KeyRing::load(KeySource::Inline(r#"{"keys":[]}"#.into())).await, Err(KeysError::Empty)));
    assert!(matches!(
        KeyRing::load(KeySource::File("/nonexistent".into())).await,
        Err(KeysError::File { .. })
    ));
    assert!(matches!(
        KeyRing::load(KeySource::Url { url: "http://id.example/jwks".into(), ca_file: None }).await,
        Err(KeysError::Scheme { .. })
    ));
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let away = KeyRing::load(KeySource::Url { url: "https://127.0.0.1:1/jwks".into(), ca_file: None })
        .await
        .unwrap();
    assert_eq!(away.refreshed(), 0);
    assert_eq!(Verifier::new(settings(), away).verify(&DEV.sign(&good()), NOW), Err(TokenError::UnknownKey));
}

#[test]
fn s37_errors_hold_nothing_of_the_token() {
    let token = with(|c| _ = c.insert("iss".into(), json!("canary")));
    let error = judged(&token).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("canary"));
}

proptest! {
    #[test]
    fn s38_arbitrary_strings_never_panic_or_pass(text in "\\PC*", parts in "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,90}") {
        prop_assert!(judged(&text).is_err());
        prop_assert!(judged(&parts).is_err());
    }

    #[test]
    fn s38_arbitrary_json_in_a_signed_token_never_panics(header in json_value(), claims in json_value()) {
        prop_assert!(judged(&DEV.sign_raw(&header, &claims)).is_err());
    }

    #[test]
    fn s38_arbitrary_key_documents_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), json in json_value()) {
        prop_assert!(Keys::parse(&bytes).is_err());
        let _ = Keys::parse(json.to_string().as_bytes());
        let _ = Keys::parse(serde_json::json!({ "keys": [json] }).to_string().as_bytes());
    }

    /// A JWKS with one changed byte parses without a panic, and a truncated JWKS is refused.
    #[test]
    fn s38_a_mutated_key_document_is_refused_or_read(at: proptest::sample::Index, to: u8) {
        let mut bytes = DEV.jwks().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = Keys::parse(&bytes);
        bytes.truncate(at);
        prop_assert!(Keys::parse(&bytes).is_err());
    }

    #[test]
    fn s38_a_mutated_token_is_refused(at: proptest::sample::Index, to in any::<char>()) {
        let token = DEV.sign(&good());
        let mut chars: Vec<char> = token.chars().collect();
        let i = at.index(chars.len());
        prop_assume!(chars[i] != to);
        chars[i] = to;
        prop_assert!(judged(&chars.into_iter().collect::<String>()).is_err());
    }

    #[test]
    fn s38_jwks_never_panics(bytes: Vec<u8>, value in json_value()) {
        let _ = Keys::parse(&bytes);
        let _ = Keys::parse(json!({"keys": [value]}).to_string().as_bytes());
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from)
    ];
    let name = prop_oneof![
        "[a-z]{1,4}",
        Just("alg".to_owned()),
        Just("kid".to_owned()),
        Just("exp".to_owned()),
        Just("kty".to_owned())
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.clone(), inner, 0..5)
                .prop_map(|m| m.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}
