//! The token's public parts.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bkv_admin_api::{Cannot, Capability, Destruction, Fingerprints, TokenCapabilities, VaultToken};
use bkv_hsm::TokenError;
use bkv_wire::documents::fingerprint;

use super::Shared;
use super::refusal::Refusal;

pub(super) async fn token(State(s): State<Shared>) -> Result<Json<VaultToken>, Refusal> {
    let away = |e: TokenError| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "token", e, "look at the token's own status")
    };
    let identity = s.vault.token().identity_spki().await.map_err(away)?;
    let found = s.vault.token().probe().await.map_err(away)?;
    let delivery = s.vault.delivery_public().to_vec();
    Ok(Json(VaultToken {
        region: s.vault.region().into(),
        node: s.vault.node().node().0,
        fingerprints: Fingerprints {
            identity: Some(fingerprint("identity", &identity)),
            delivery: fingerprint("delivery", &delivery),
        },
        identity,
        delivery,
        capabilities: Some(capabilities(found)),
    }))
}

fn capabilities(found: bkv_hsm::Capabilities) -> TokenCapabilities {
    TokenCapabilities {
        library: found.library,
        library_version: found.library_version,
        cryptoki_version: found.cryptoki_version,
        token_model: found.token_model,
        firmware_version: found.firmware_version,
        can: found.can.into_iter().map(capability).collect(),
        cannot: found
            .cannot
            .into_iter()
            .map(|c| Cannot { capability: capability(c.capability), why: c.why })
            .collect(),
        destruction: match found.destruction {
            bkv_hsm::Destruction::Immediate => Destruction::Immediate,
            bkv_hsm::Destruction::Delayed => Destruction::Delayed,
            bkv_hsm::Destruction::Unknown => Destruction::Unknown,
        },
    }
}

pub(super) const fn capability(found: bkv_hsm::Capability) -> Capability {
    match found {
        bkv_hsm::Capability::EcdsaP256 => Capability::EcdsaP256,
        bkv_hsm::Capability::HmacSha256 => Capability::HmacSha256,
        bkv_hsm::Capability::HmacSha512 => Capability::HmacSha512,
        bkv_hsm::Capability::DataObjects => Capability::DataObjects,
    }
}
