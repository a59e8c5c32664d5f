//! Verifies one token: form, algorithm, key, signature, then each claim. The caller passes the time.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{KeyRing, TokenError};

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 8 << 10;
const MAX_SUBJECT: usize = 255;

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
}

/// The user that a valid token names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// The number in the enrolment claim.
    pub enrolment: Option<u64>,
}

/// Verifies tokens of one issuer for one audience.
#[derive(Debug, Clone)]
pub struct Verifier {
    settings: Settings,
    keys: Arc<KeyRing>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl Verifier {
    /// Verifies with these keys. The owner runs [`KeyRing::run`].
    pub const fn new(settings: Settings, keys: Arc<KeyRing>) -> Self {
        Self { settings, keys }
    }

    /// The keys, for the metric of their age.
    pub const fn keys(&self) -> &Arc<KeyRing> {
        &self.keys
    }

    /// Verifies `token` at `now` (seconds since the Unix epoch). An unknown key asks for a fetch, whose rate the ring's task limits.
    pub fn verify(&self, token: &str, now: u64) -> Result<Subject, TokenError> {
        let claims = self.signed(token)?;
        self.claims(&claims, now)
    }

    /// As [`Verifier::verify`]. For an unknown key it waits at most `patience` for a fetch and verifies once more.
    pub async fn verify_or_refresh(
        &self,
        token: &str,
        now: u64,
        patience: Duration,
    ) -> Result<Subject, TokenError> {
        match self.verify(token, now) {
            Err(TokenError::UnknownKey) if self.keys.want_and_wait(patience).await => self.verify(token, now),
            other => other,
        }
    }

    fn signed(&self, token: &str) -> Result<Map<String, Value>, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
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
        let keys = self.keys.current();
        let Some(key) = keys.find(header.kid.as_deref()) else {
            self.keys.want();
            return Err(TokenError::UnknownKey);
        };
        // The key decides the algorithm; the token must name the same one.
        if key.algorithm != algorithm {
            return Err(TokenError::KeyType);
        }
        let mut validation = Validation::new(key.algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        match decode::<Map<String, Value>>(token, &key.public, &validation) {
            Ok(data) => Ok(data.claims),
            Err(e) => Err(match e.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature
                | jsonwebtoken::errors::ErrorKind::Base64(_) => TokenError::Signature,
                _ => TokenError::Malformed,
            }),
        }
    }

    fn claims(&self, claims: &Map<String, Value>, now: u64) -> Result<Subject, TokenError> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(self.settings.issuer.as_str()) {
            return Err(TokenError::Issuer);
        }
        let audience = match claims.get("aud") {
            Some(Value::String(one)) => Some(one.as_str()),
            Some(Value::Array(all)) => match all.as_slice() {
                [Value::String(one)] => Some(one.as_str()),
                _ => None,
            },
            _ => None,
        };
        if audience != Some(self.settings.audience.as_str()) {
            return Err(TokenError::Audience);
        }
        let leeway = self.settings.leeway;
        let expires = time(claims, "exp")?.ok_or(TokenError::Times)?;
        if now >= expires.saturating_add(leeway) {
            return Err(TokenError::Expired);
        }
        for name in ["nbf", "iat"] {
            if time(claims, name)?.is_some_and(|t| t > now.saturating_add(leeway)) {
                return Err(TokenError::NotYet);
            }
        }
        let subject =
            text("sub").filter(|s| !s.is_empty() && s.len() <= MAX_SUBJECT).ok_or(TokenError::Subject)?;
        Ok(Subject {
            issuer: self.settings.issuer.clone(),
            subject: subject.to_owned(),
            enrolment: self.enrolment(claims)?,
        })
    }

    fn enrolment(&self, claims: &Map<String, Value>) -> Result<Option<u64>, TokenError> {
        let Some(name) = &self.settings.enrolment_claim else { return Ok(None) };
        match claims.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(n)) => n.as_u64().map(Some).ok_or(TokenError::Enrolment),
            Some(Value::String(s)) => s.parse().map(Some).map_err(|_| TokenError::Enrolment),
            Some(_) => Err(TokenError::Enrolment),
        }
    }
}

/// A NumericDate (RFC 7519, section 2), rounded down to whole seconds.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(n)) => match (n.as_u64(), n.as_f64()) {
            (Some(whole), _) => Ok(Some(whole)),
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            (None, Some(f)) if (0.0..1e15).contains(&f) => Ok(Some(f as u64)),
            _ => Err(TokenError::Times),
        },
        Some(_) => Err(TokenError::Times),
    }
}
