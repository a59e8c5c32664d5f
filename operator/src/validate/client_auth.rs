//! The issuer of the clients' access tokens.

use super::period::milliseconds;
use super::references::{KeyOf, key_of};
use super::refusal::Refusals;
use super::url::https_port;
use crate::conditions::Reason;
use crate::resource as spec;

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

/// The issuer of the clients' access tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// `iss`.
    pub issuer: String,
    /// Its keys.
    pub jwks: JwksSource,
    /// `aud` for ChatD.
    pub chatd_audience: String,
    /// `aud` for vaults.
    pub vault_audience: String,
    /// Claim that numbers enrolments.
    pub enrolment_claim: Option<String>,
    /// How long after `iat` vaults accept a token, milliseconds.
    pub token_max_age_ms: u64,
    /// Vaults take only tokens that are bound to a key.
    pub bound_tokens: bool,
}

/// Where the issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// An https URL.
    Url {
        /// The URL.
        url: String,
        /// Its port.
        port: u16,
    },
    /// A ConfigMap.
    ConfigMap(KeyOf),
}

/// The signed policy holds nothing else, because people must be able to read what they sign.
fn printable(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|b| matches!(b, b' '..=b'~'))
}

pub(super) fn client_auth(given: &spec::ClientAuth, refusals: &mut Refusals) -> Option<ClientAuth> {
    let at = |field: &str| format!("spec.clientAuth.{field}");
    refusals.want(
        printable(&given.issuer, 255) && https_port(&given.issuer).is_some(),
        &at("issuer"),
        Reason::InvalidValue,
        "must be an https URL, equal to the tokens' iss, without user or password",
    );
    let audiences = &given.audiences;
    for (field, value) in [("chatd", &audiences.chatd), ("vault", &audiences.vault)] {
        let good = printable(value, 255);
        let at = at(&format!("audiences.{field}"));
        refusals.want(good, &at, Reason::InvalidValue, "must be 1 to 255 printable ASCII characters");
    }
    refusals.want(
        audiences.chatd != audiences.vault,
        &at("audiences"),
        Reason::Conflict,
        "the two audiences must differ: a token that ChatD sees must not spend tries",
    );
    let claim = given.enrolment_claim.as_deref();
    refusals.want(
        claim.is_none_or(|c| printable(c, 64)),
        &at("enrolmentClaim"),
        Reason::OutOfRange,
        "must be 1 to 64 printable ASCII characters",
    );
    let token_max_age_ms = milliseconds(&given.token_max_age, &at("tokenMaxAge"), refusals);
    refusals.want(
        token_max_age_ms.is_none_or(|ms| (MINUTE..=DAY).contains(&ms)),
        &at("tokenMaxAge"),
        Reason::OutOfRange,
        "must be 1m to 24h",
    );
    let jwks = match (&given.jwks.url, &given.jwks.config_map_ref) {
        (Some(url), None) => match https_port(url).filter(|_| printable(url, 512)) {
            Some(port) => Some(JwksSource::Url { url: url.clone(), port }),
            None => refusals.refuse(
                at("jwks.url"),
                Reason::InvalidValue,
                "must be an https URL of at most 512 characters, without user or password",
            ),
        },
        (None, Some(reference)) => {
            Some(JwksSource::ConfigMap(key_of(reference, "jwks.json", &at("jwks.configMapRef"), refusals)))
        }
        _ => refusals.refuse(at("jwks"), Reason::ExactlyOne, "exactly one of url, configMapRef must be set"),
    };
    Some(ClientAuth {
        issuer: given.issuer.clone(),
        jwks: jwks?,
        chatd_audience: audiences.chatd.clone(),
        vault_audience: audiences.vault.clone(),
        enrolment_claim: given.enrolment_claim.clone(),
        token_max_age_ms: token_max_age_ms?,
        bound_tokens: given.bound_tokens,
    })
}
