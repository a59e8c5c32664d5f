//! An issuer of tokens for `bkv dev` and tests. An attacker who has its key can act as every user.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

/// `iss` of the development issuer.
pub const ISSUER: &str = "https://issuer.bkv.localhost";
/// `aud` of tokens for the vaults of a development fleet.
pub const VAULT_AUDIENCE: &str = "bkv-vault";
/// `aud` of tokens for ChatD of a development fleet.
pub const CHATD_AUDIENCE: &str = "bkv-chatd";

/// The key can't be made or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the development issuer's key can't be made or read")]
pub struct DevKeyError;

/// Signs tokens with an Ed25519 key.
pub struct DevIssuer {
    issuer: String,
    key: Ed25519KeyPair,
    pkcs8: Vec<u8>,
}

impl std::fmt::Debug for DevIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevIssuer").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// The claims of one token. Times are in seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevClaims<'a> {
    /// `sub`.
    pub subject: &'a str,
    /// `aud`.
    pub audience: &'a str,
    /// `iat` and `nbf`.
    pub now: u64,
    /// Seconds from `now` to `exp`.
    pub lifetime: u64,
    /// The claim `enrolment`.
    pub enrolment: Option<u64>,
}

impl DevIssuer {
    /// A new key. `issuer` becomes `iss`.
    pub fn generate(issuer: impl Into<String>) -> Result<Self, DevKeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| DevKeyError)?;
        Self::from_pkcs8(issuer, document.as_ref())
    }

    /// An issuer with a stored key.
    pub fn from_pkcs8(issuer: impl Into<String>, pkcs8: &[u8]) -> Result<Self, DevKeyError> {
        let key = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| DevKeyError)?;
        Ok(Self { issuer: issuer.into(), key, pkcs8: pkcs8.to_vec() })
    }

    /// The private key. Keep it in a private file.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key's `kid`: the start of its public part.
    pub fn key_id(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref().get(..9).unwrap_or_default())
    }

    /// The JWKS that verifies this issuer's tokens.
    pub fn jwks(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.key_id(), "x": x}]}).to_string()
    }

    /// Signs a token with these claims.
    pub fn sign(&self, claims: &DevClaims<'_>) -> String {
        self.sign_claims(self.body(claims))
    }

    /// The same, bound to the key with this JWK thumbprint in base64url: `cnf.jkt` (RFC 9449, section 6.1).
    pub fn sign_bound(&self, claims: &DevClaims<'_>, thumbprint: &str) -> String {
        let mut body = self.body(claims);
        body.insert("cnf".to_owned(), json!({ "jkt": thumbprint }));
        self.sign_claims(body)
    }

    fn body(&self, claims: &DevClaims<'_>) -> Map<String, Value> {
        let mut body = Map::new();
        let texts = [("iss", self.issuer.as_str()), ("sub", claims.subject), ("aud", claims.audience)];
        body.extend(texts.map(|(name, text)| (name.to_owned(), text.into())));
        let times =
            [("iat", claims.now), ("nbf", claims.now), ("exp", claims.now.saturating_add(claims.lifetime))];
        body.extend(times.map(|(name, time)| (name.to_owned(), time.into())));
        body.extend(claims.enrolment.map(|n| ("enrolment".to_owned(), n.into())));
        body
    }

    fn sign_claims(&self, claims: Map<String, Value>) -> String {
        self.sign_raw(&json!({"alg": "EdDSA", "typ": "JWT", "kid": self.key_id()}), &claims.into())
    }

    /// Signs any header and claims with this key, even if the header names another key or algorithm. Tests make tokens with it that must be refused.
    pub fn sign_raw(&self, header: &Value, claims: &Value) -> String {
        let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
        let input = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(input.as_bytes()).as_ref());
        format!("{input}.{signature}")
    }
}
