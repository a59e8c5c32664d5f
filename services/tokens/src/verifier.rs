//! Verifies one token: form, algorithm, key, signature, then each claim. The caller passes the time.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cache::{Cache, Verified};
use crate::claims::{self, Claims};
use crate::keys::{Key, Keys};
use crate::{KeyRing, TokenError};

/// The longest token, in bytes. Each message of a login may bring one.
pub const MAX_TOKEN: usize = 4 << 10;

/// What a service does with the key to which a token is bound (`cnf`, RFC 7800).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// The service checks no proofs. To it every token is a bearer token.
    Ignored,
    /// Whoever shows a token that names a key must prove possession of the key.
    IfPresent,
    /// The same, and a token must name a key.
    Required,
}

/// What a token must contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The only accepted `iss`.
    pub issuer: String,
    /// The only accepted `aud`.
    pub audience: String,
    /// The claim that holds the enrolment number, if the issuer gives one.
    pub enrolment_claim: Option<String>,
    /// How far the issuer's clock may differ, in seconds.
    pub leeway: u64,
    /// How long after `iat` a token is accepted, in seconds. A token then needs `iat`. None asks for neither.
    pub max_age: Option<u64>,
    /// Whether it names a key of the client.
    pub confirmation: Confirmation,
}

/// Verifies tokens of one issuer for one audience, under one policy. Clones share the cache of verified tokens.
#[derive(Debug, Clone)]
pub struct Verifier {
    settings: Arc<Settings>,
    keys: Arc<KeyRing>,
    cache: Arc<Cache>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// The id of the key that a token names. Not verified.
pub fn key_id(token: &str) -> Option<String> {
    let (head, _) = token.split_once('.')?;
    let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).ok()?).ok()?;
    header.kid
}

impl Verifier {
    /// Verifies with these keys. The owner runs [`KeyRing::run`]. The cache is new: no token that another policy accepted is accepted here unseen.
    pub fn new(settings: Settings, keys: Arc<KeyRing>) -> Self {
        Self { settings: Arc::new(settings), keys, cache: Arc::default() }
    }

    /// The keys, for their age.
    pub const fn keys(&self) -> &Arc<KeyRing> {
        &self.keys
    }

    /// Verifies `token` at `now` (seconds since the Unix epoch). An unknown key asks for a fetch, whose rate the ring's task limits. A token that was
    /// verified before, with the same keys, costs no signature check.
    pub fn verify(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let digest = Cache::digest(token);
        let keys = self.keys.current()?.unwrap_or_default();
        if let Some(known) = self.cache.get(&digest, keys.document()) {
            // A cached token also ends, so its times are compared at each use.
            if let Err(ended) = known.times.check(&self.settings, now) {
                self.cache.forget(&digest);
                return Err(ended);
            }
            return Ok(known.claims.clone());
        }
        let signed = self.signed(&keys, token)?;
        let (claims, times) = claims::read(&self.settings, &signed)?;
        times.check(&self.settings, now)?;
        self.cache.put(digest, Verified::new(claims.clone(), times, *keys.document()));
        Ok(claims)
    }

    /// As [`Verifier::verify`]. For an unknown key, or keys that are too old, it waits at most `patience` for a fetch and verifies once more.
    pub async fn verify_or_refresh(
        &self,
        token: &str,
        now: u64,
        patience: Duration,
    ) -> Result<Claims, TokenError> {
        match self.verify(token, now) {
            Err(TokenError::UnknownKey | TokenError::KeysTooOld)
                if self.keys.want_and_wait(patience).await =>
            {
                self.verify(token, now)
            }
            other => other,
        }
    }

    fn signed(&self, keys: &Keys, token: &str) -> Result<Map<String, Value>, TokenError> {
        if token.split('.').count() != 3 {
            return Err(TokenError::Malformed);
        }
        let (head, _) = token.split_once('.').ok_or(TokenError::Malformed)?;
        let header = URL_SAFE_NO_PAD.decode(head).map_err(|_| TokenError::Malformed)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
        let algorithm = match header.alg.as_str() {
            "EdDSA" => Algorithm::EdDSA,
            "ES256" => Algorithm::ES256,
            "RS256" => Algorithm::RS256,
            _ => return Err(TokenError::Algorithm),
        };
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        if header.typ.as_deref().is_some_and(|typ| !is_access_token(typ)) {
            return Err(TokenError::Type);
        }
        let mut named = keys.named(header.kid.as_deref()).peekable();
        if named.peek().is_none() {
            self.keys.want();
            return Err(TokenError::UnknownKey);
        }
        // The key decides the algorithm, and the token must name the same one. Several keys may have one `kid`: each is tried.
        let mut refusal = TokenError::KeyType;
        for key in named.filter(|key| key.algorithm == algorithm) {
            match signed_by(key, token) {
                Ok(claims) => return Ok(claims),
                Err(e) => refusal = e,
            }
        }
        Err(refusal)
    }
}

/// `typ` of an access token (RFC 9068, section 2.1) or of a JWT without a declared use (RFC 7519, section 5.1). An issuer signs other tokens with the
/// same keys and audience, such as `logout+jwt`, which it sends to other services.
fn is_access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

fn signed_by(key: &Key, token: &str) -> Result<Map<String, Value>, TokenError> {
    let mut validation = Validation::new(key.algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    decode::<Map<String, Value>>(token, &key.public, &validation).map(|data| data.claims).map_err(|e| match e
        .kind()
    {
        jsonwebtoken::errors::ErrorKind::InvalidSignature | jsonwebtoken::errors::ErrorKind::Base64(_) => {
            TokenError::Signature
        }
        _ => TokenError::Malformed,
    })
}

#[cfg(test)]
impl Verifier {
    /// The number of cached tokens.
    pub(crate) fn cached(&self) -> usize {
        self.cache.len()
    }
}
