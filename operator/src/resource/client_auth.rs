//! The issuer of clients' tokens.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::values::{KeyReference, Period};

/// The token issuer. It is part of the signed policy: vaults check tokens by the policy that the root signed, so a cluster admin can't replace the issuer by an edit
/// here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientAuth {
    /// `iss` of every token, an https URL.
    #[schemars(length(min = 9, max = 255))]
    #[x_kube(validation = Rule::new("self.startsWith('https://')").message("clientAuth.issuer must be an https URL"))]
    pub issuer: String,
    /// The issuer's public keys.
    pub jwks: Jwks,
    /// `aud` of the two tokens. ChatD reads one; only vaults can read the other.
    #[serde(default)]
    pub audiences: Audiences,
    /// Claim that counts an account's enrolments, if the issuer has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub enrolment_claim: Option<String>,
    /// How long after its `iat` the vaults accept a token, 1m to 24h. A short age helps against an attacker who roots a region: the tokens that the region has seen
    /// end soon.
    #[serde(default = "ten_minutes")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('24h')").message("clientAuth.tokenMaxAge must be 1m to 24h"))]
    pub token_max_age: Period,
    /// Set this to true if the issuer binds the vaults' tokens to a key of the app, as it does with DPoP (RFC 9449): the claim `cnf.jkt`. The vaults then refuse every
    /// other token, and an attacker who has seen a token can't use it. Vaults check the key of a token that has `cnf.jkt` in either case.
    #[serde(default)]
    pub bound_tokens: bool,
}

fn ten_minutes() -> Period {
    Period::from("10m")
}

/// Where the issuer's keys come from: set exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.url), has(self.configMapRef)].exists_one(x, x)").message("exactly one of url, configMapRef must be set in clientAuth.jwks"))]
pub struct Jwks {
    /// An https URL. Vaults and ChatD fetch it and keep the last good answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^https://.+"))]
    pub url: Option<String>,
    /// A ConfigMap with the JWKS. Default key: `jwks.json`. Its content becomes part of the signed policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<KeyReference>,
}

/// `aud` of the two tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.chatd != self.vault").message("the two audiences must differ: a token that ChatD sees must not spend attempts"))]
pub struct Audiences {
    /// Of the token that ChatD checks.
    #[serde(default = "chatd")]
    #[schemars(length(min = 1, max = 255))]
    pub chatd: String,
    /// Of the token that the vaults check.
    #[serde(default = "vault")]
    #[schemars(length(min = 1, max = 255))]
    pub vault: String,
}

fn chatd() -> String {
    "bkv-chatd".into()
}

fn vault() -> String {
    "bkv-vault".into()
}

impl Default for Audiences {
    fn default() -> Self {
        Self { chatd: chatd(), vault: vault() }
    }
}
