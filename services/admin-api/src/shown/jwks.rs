//! The keys of a JWKS, as people compare them with what the issuer publishes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::text_value;

/// As `bkv-tokens` reads it: a JWKS with `keys` twice is refused, and of a key's repeated member the last one counts.
#[derive(Deserialize)]
pub(super) struct Jwks {
    pub(super) keys: Vec<Value>,
}

/// One key of an issuer.
pub(super) fn signing_key(key: &Value) -> String {
    let member = |name: &str| key.get(name).and_then(Value::as_str);
    let shown = |name: &str| member(name).map_or("none".to_owned(), text_value);
    let thumbprint = thumbprint(key).unwrap_or_else(|| "none, vaults ignore this key".to_owned());
    format!("kid {}, kty {}, thumbprint {thumbprint}", shown("kid"), shown("kty"))
}

/// RFC 7638: SHA-256 over the key's required members in lexicographic order, base64url. None for a key of a kind that verifies no token here.
pub(super) fn thumbprint(key: &Value) -> Option<String> {
    let names: &[&str] = match key.get("kty")?.as_str()? {
        "OKP" => &["crv", "kty", "x"],
        "EC" => &["crv", "kty", "x", "y"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let members: BTreeMap<&str, &str> =
        names.iter().map(|name| Some((*name, key.get(name)?.as_str()?))).collect::<Option<_>>()?;
    let json = serde_json::to_string(&members).ok()?;
    Some(URL_SAFE_NO_PAD.encode(Sha256::digest(json.as_bytes())))
}
