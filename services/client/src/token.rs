//! The person's vault token: where it comes from, and what it claims.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bkv_core::id::Hash;
use bkv_core::statement;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::error::Error;

/// Where the person's vault tokens come from.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// A token with the vault's audience. `refused` is one that vaults no longer accept, or that ends too soon. If there is no other, returns the same one
    /// again.
    async fn token(&self, refused: Option<&str>) -> Result<Zeroizing<String>, Error>;
}

/// One token, which can't be renewed.
pub(crate) struct OneToken(pub(crate) Zeroizing<String>);

#[async_trait]
impl Tokens for OneToken {
    async fn token(&self, _: Option<&str>) -> Result<Zeroizing<String>, Error> {
        Ok(self.0.clone())
    }
}

type Token = Arc<Zeroizing<String>>;

/// The token in use and its source.
pub(crate) struct HeldToken {
    source: Arc<dyn Tokens>,
    now: Mutex<Option<Token>>,
}

impl HeldToken {
    pub(crate) fn new(source: Arc<dyn Tokens>) -> Self {
        Self { source, now: Mutex::default() }
    }

    pub(crate) async fn get(&self) -> Result<Token, Error> {
        if let Some(token) = self.now.lock().clone() {
            return Ok(token);
        }
        let token = Arc::new(self.source.token(None).await?);
        *self.now.lock() = Some(token.clone());
        Ok(token)
    }

    /// Gets a token in place of the one that was refused. False if there is no other of the same person: a request that is repeated with another person's token
    /// would spend that person's try, or register this person's password under the other account.
    pub(crate) async fn renew(&self) -> Result<bool, Error> {
        let old = self.get().await?;
        let new = Arc::new(self.source.token(Some(old.as_str())).await?);
        let person = |token: &str| Claims::of(token, None).map(|c| (c.issuer, c.subject));
        if person(&new) != person(&old) {
            return Ok(false);
        }
        let other = *new != *old;
        *self.now.lock() = Some(new);
        Ok(other)
    }
}

/// What of a token binds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Confirmation {
    None,
    Jkt(String),
    Other,
}

/// Whose token it is, by the token itself. The client believes its own token, and compares what regions sign with it (S46).
pub(crate) struct Claims {
    issuer: String,
    subject: String,
    enrolment: u64,
    /// Whether the token is bound to a key.
    pub(crate) confirmation: Confirmation,
}

impl Claims {
    /// Reads the claims of a JWT, without a check of its signature: the vaults check it. None if it has no issuer or no subject.
    pub(crate) fn of(token: &str, enrolment_claim: Option<&str>) -> Option<Self> {
        let body = token.split('.').nth(1)?;
        let body = Zeroizing::new(URL_SAFE_NO_PAD.decode(body).ok()?);
        let claims: Map<String, Value> = serde_json::from_slice(&body).ok()?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        let enrolment = match enrolment_claim.and_then(|name| claims.get(name)) {
            None | Some(Value::Null) => 0,
            Some(Value::Number(n)) => n.as_u64()?,
            Some(Value::String(s)) => s.parse().ok()?,
            Some(_) => return None,
        };
        let jkt = claims.get("cnf").map(|cnf| cnf.get("jkt").and_then(Value::as_str));
        let confirmation = match jkt {
            None => Confirmation::None,
            Some(Some(jkt)) => Confirmation::Jkt(jkt.to_owned()),
            Some(None) => Confirmation::Other,
        };
        Some(Self { issuer: text("iss")?, subject: text("sub")?, enrolment, confirmation })
    }

    /// The tag that each region must sign, see [`statement::subject`].
    pub(crate) fn tag(&self, nonce: &[u8; 32]) -> Hash {
        statement::subject(nonce, &self.issuer, &self.subject, self.enrolment)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn jwt(claims: &Value) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    struct Replaced(Mutex<Vec<String>>);

    #[async_trait]
    impl Tokens for Replaced {
        async fn token(&self, _: Option<&str>) -> Result<Zeroizing<String>, Error> {
            Ok(Zeroizing::new(self.0.lock().remove(0)))
        }
    }

    /// The token's file may have been replaced by another person's while a request is repeated.
    #[tokio::test]
    async fn a_renewed_token_is_of_the_same_person() {
        let of = |sub: &str, jti: u8| jwt(&json!({"iss": "i", "sub": sub, "jti": jti}));
        let held = HeldToken::new(Arc::new(Replaced(Mutex::new(vec![
            of("alice", 0),
            of("mallory", 1),
            of("alice", 2),
        ]))));
        assert!(!held.renew().await.unwrap(), "another person's token was taken");
        assert_eq!(held.get().await.unwrap().as_str(), of("alice", 0));
        assert!(held.renew().await.unwrap());
        assert_eq!(held.get().await.unwrap().as_str(), of("alice", 2));
    }

    /// The vaults read the enrolment as a number or as a number in a string (`bkv-tokens`). A client that reads it otherwise accuses honest regions.
    #[test]
    fn the_tag_follows_from_issuer_subject_and_enrolment() {
        let tag =
            |claims: &Value, name: Option<&str>| Claims::of(&jwt(claims), name).map(|c| c.tag(&[7; 32]));
        let expected = |n| Some(statement::subject(&[7; 32], "i", "s", n));
        let plain = json!({"iss": "i", "sub": "s"});
        assert_eq!(tag(&plain, None), expected(0));
        assert_eq!(tag(&plain, Some("n")), expected(0));
        assert_eq!(tag(&json!({"iss": "i", "sub": "s", "n": 3}), Some("n")), expected(3));
        assert_eq!(tag(&json!({"iss": "i", "sub": "s", "n": "3"}), Some("n")), expected(3));
        assert_eq!(tag(&json!({"iss": "i", "sub": "s", "n": 3}), None), expected(0));
        assert_eq!(tag(&json!({"iss": "i", "sub": "s", "n": -3}), Some("n")), None);
        assert_eq!(tag(&json!({"iss": "i"}), None), None);
        assert!(Claims::of("opaque", None).is_none());
    }
}
