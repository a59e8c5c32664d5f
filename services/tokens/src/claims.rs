//! Reads the claims of a token whose signature is good. The time claims are kept separately, in [`Times`], because a cached token is compared with
//! the time again at each use.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::{Confirmation, Settings, TokenError};

const MAX_SUBJECT: usize = 255;
/// The longest time between `iat` and `exp`, or between now and `exp` for a token without `iat`, in seconds. If an
/// issuer sets no end, an attacker who stole one token could use the account for ever.
pub const MAX_LIFETIME: u64 = 24 * 3600;

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

/// The claims of a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The user.
    pub subject: Subject,
    /// The JWK thumbprint of the key to which the token is bound (`cnf.jkt`). The token alone is then not enough: the caller must have a proof by this key.
    pub key: Option<[u8; 32]>,
    /// The first second at which the token is refused, since the Unix epoch, without leeway: `exp`, or `iat` and the longest age if that is earlier.
    pub expires: u64,
}

/// The time claims of one token, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    expires: u64,
    not_before: Option<u64>,
    issued: Option<u64>,
}

/// Reads every claim but does not compare a time.
pub(crate) fn read(settings: &Settings, claims: &Map<String, Value>) -> Result<(Claims, Times), TokenError> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(settings.issuer.as_str()) {
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
    if audience != Some(settings.audience.as_str()) {
        return Err(TokenError::Audience);
    }
    let times = Times {
        expires: time(claims, "exp")?.ok_or(TokenError::Times)?,
        not_before: time(claims, "nbf")?,
        issued: time(claims, "iat")?,
    };
    if settings.max_age.is_some() && times.issued.is_none() {
        return Err(TokenError::Times);
    }
    let subject =
        text("sub").filter(|s| !s.is_empty() && s.len() <= MAX_SUBJECT).ok_or(TokenError::Subject)?;
    let subject = Subject {
        issuer: settings.issuer.clone(),
        subject: subject.to_owned(),
        enrolment: enrolment(settings, claims)?,
    };
    let claims = Claims { subject, key: key(settings, claims)?, expires: times.end(settings) };
    Ok((claims, times))
}

impl Times {
    /// Refuses a token that is not valid at `now`.
    pub(crate) fn check(&self, settings: &Settings, now: u64) -> Result<(), TokenError> {
        let leeway = settings.leeway;
        if now >= self.expires.saturating_add(leeway) {
            return Err(TokenError::Expired);
        }
        if [self.not_before, self.issued].into_iter().flatten().any(|t| t > now.saturating_add(leeway)) {
            return Err(TokenError::NotYet);
        }
        if self.expires.saturating_sub(self.issued.unwrap_or(now)) > MAX_LIFETIME {
            return Err(TokenError::Lifetime);
        }
        if self.oldest(settings).is_some_and(|end| now >= end.saturating_add(leeway)) {
            return Err(TokenError::TooOld);
        }
        Ok(())
    }

    /// The end of the token by `exp` and by its longest age.
    pub(crate) fn end(&self, settings: &Settings) -> u64 {
        self.oldest(settings).map_or(self.expires, |end| end.min(self.expires))
    }

    fn oldest(&self, settings: &Settings) -> Option<u64> {
        Some(self.issued?.saturating_add(settings.max_age?))
    }
}

/// The key of `cnf` (RFC 7800, section 3.1). Refuses a `cnf` without `jkt`: such a token must not be accepted without a proof, and this service can't check another kind.
/// Ignores other members beside `jkt`.
fn key(settings: &Settings, claims: &Map<String, Value>) -> Result<Option<[u8; 32]>, TokenError> {
    let required = match settings.confirmation {
        Confirmation::Ignored => return Ok(None),
        Confirmation::IfPresent => false,
        Confirmation::Required => true,
    };
    let Some(cnf) = claims.get("cnf") else {
        return if required { Err(TokenError::Unbound) } else { Ok(None) };
    };
    let jkt = cnf.get("jkt").and_then(Value::as_str).and_then(|jkt| URL_SAFE_NO_PAD.decode(jkt).ok());
    let key = jkt.and_then(|jkt| jkt.try_into().ok()).ok_or(TokenError::Confirmation)?;
    Ok(Some(key))
}

fn enrolment(settings: &Settings, claims: &Map<String, Value>) -> Result<Option<u64>, TokenError> {
    let Some(name) = &settings.enrolment_claim else { return Ok(None) };
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(n)) => n.as_u64().map(Some).ok_or(TokenError::Enrolment),
        Some(Value::String(s)) => s.parse().map(Some).map_err(|_| TokenError::Enrolment),
        Some(_) => Err(TokenError::Enrolment),
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

#[cfg(test)]
impl Times {
    pub(crate) const fn for_test(expires: u64) -> Self {
        Self { expires, not_before: None, issued: None }
    }
}
