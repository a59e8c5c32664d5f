//! The fleet's token issuer: valid tokens, and every kind of bad token that an attacker may present.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
pub use bkv_tokens::dev::{CHATD_AUDIENCE as CHATD, ISSUER, VAULT_AUDIENCE as VAULT};
use bkv_tokens::dev::{DevClaims, DevIssuer};
use serde_json::{Value, json};

use crate::Fleet;

/// The fleet's issuer. Its key is in the fleet's folder.
pub struct Issuer(pub DevIssuer);

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

impl Fleet {
    /// Its issuer.
    pub fn issuer(&self) -> Issuer {
        let key = fs::read(self.dir().join("issuer/key.pkcs8")).expect("the issuer's key");
        Issuer(DevIssuer::from_pkcs8(ISSUER, &key).expect("a key"))
    }
}

impl Issuer {
    /// A valid token.
    pub fn good(&self, subject: &str, audience: &str) -> String {
        self.0.sign(&DevClaims { subject, audience, now: now(), lifetime: 3600, enrolment: None })
    }

    /// A token of this issuer with one claim changed, or removed if the value is null.
    fn with(&self, subject: &str, audience: &str, name: &str, value: &Value) -> String {
        self.0.sign_raw(&self.header(), &claims(subject, audience, name, value))
    }

    fn header(&self) -> Value {
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": self.0.key_id() })
    }

    /// Every kind of bad token for the endpoint of `audience`, with its name.
    pub fn bad(&self, subject: &str, audience: &str) -> Vec<(&'static str, String)> {
        let other = if audience == CHATD { VAULT } else { CHATD };
        let stranger = DevIssuer::generate(ISSUER).expect("a key");
        let fine = claims(subject, audience, "iss", &json!(ISSUER));
        let part = |v: &Value| B64.encode(v.to_string());
        let unsigned = |header: Value| format!("{}.{}", part(&header), part(&fine));
        // An attacker signs with the public key as an HMAC secret, decoded and as the JWKS holds it. A verifier that trusts `alg` would accept that.
        let jwks: Value = serde_json::from_str(&self.0.jwks()).expect("JWKS");
        let x = jwks.pointer("/keys/0/x").and_then(Value::as_str).expect("x").to_owned();
        let hs256 = |secret: &[u8]| {
            let input = unsigned(json!({ "alg": "HS256", "kid": self.0.key_id() }));
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            let tag = hmac::sign(&key, input.as_bytes());
            format!("{input}.{}", B64.encode(tag.as_ref()))
        };
        let good = self.good(subject, audience);
        let (whole, signature) = good.rsplit_once('.').expect("a JWT");
        vec![
            ("expired", self.with(subject, audience, "exp", &json!(now() - 3600))),
            ("without an end", self.with(subject, audience, "exp", &Value::Null)),
            ("not yet valid", self.with(subject, audience, "nbf", &json!(now() + 3600))),
            ("the other endpoint's", self.good(subject, other)),
            ("both endpoints'", self.with(subject, audience, "aud", &json!([CHATD, VAULT]))),
            ("another issuer's", self.with(subject, audience, "iss", &json!("https://issuer.example"))),
            ("alg none", format!("{}.", unsigned(json!({ "alg": "none" })))),
            ("alg none, signed", self.0.sign_raw(&json!({ "alg": "none", "kid": self.0.key_id() }), &fine)),
            ("HS256 with the public key", hs256(&B64.decode(&x).expect("base64"))),
            ("HS256 with the key's text", hs256(x.as_bytes())),
            ("unknown key", stranger.sign_raw(&json!({ "alg": "EdDSA", "kid": stranger.key_id() }), &fine)),
            ("another's key under our name", stranger.sign_raw(&self.header(), &fine)),
            ("signature cut", format!("{whole}.{}", signature.split_at(40).0)),
            ("no signature", format!("{whole}.")),
            ("garbage", "not.a.token".to_owned()),
            ("one word", "x".to_owned()),
        ]
    }
}

fn claims(subject: &str, audience: &str, name: &str, value: &Value) -> Value {
    let t = now();
    let mut claims = json!({ "iss": ISSUER, "sub": subject, "aud": audience, "iat": t - 7200, "nbf": t - 7200, "exp": t + 3600 });
    let map = claims.as_object_mut().expect("an object");
    if value.is_null() {
        map.remove(name);
    } else {
        map.insert(name.to_owned(), value.clone());
    }
    claims
}
