//! The issuer of the clients' access tokens.

use super::references::{KeyOf, key_of};
use super::refusal::Refusals;
use super::url::https_port;
use crate::conditions::Reason;
use crate::resource as spec;

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

pub(super) fn client_auth(given: &spec::ClientAuth, refusals: &mut Refusals) -> Option<ClientAuth> {
    let at = |field: &str| format!("spec.clientAuth.{field}");
    refusals.want(
        given.issuer.len() <= 255 && https_port(&given.issuer).is_some(),
        &at("issuer"),
        Reason::InvalidValue,
        "must be an https URL, equal to the tokens' iss, without user or password",
    );
    let audiences = &given.audiences;
    for (field, value) in [("chatd", &audiences.chatd), ("vault", &audiences.vault)] {
        let good = (1..=255).contains(&value.len()) && !value.contains(char::is_control);
        let at = at(&format!("audiences.{field}"));
        refusals.want(good, &at, Reason::InvalidValue, "must be 1 to 255 characters on one line");
    }
    refusals.want(
        audiences.chatd != audiences.vault,
        &at("audiences"),
        Reason::Conflict,
        "the two audiences must differ: a token that ChatD sees must not spend tries",
    );
    let claim = given.enrolment_claim.as_deref();
    refusals.want(
        claim.is_none_or(|c| (1..=64).contains(&c.len())),
        &at("enrolmentClaim"),
        Reason::OutOfRange,
        "must be 1 to 64 characters",
    );
    let jwks = match (&given.jwks.url, &given.jwks.config_map_ref) {
        (Some(url), None) => match https_port(url).filter(|_| url.len() <= 512) {
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
    })
}
