//! The root over the admin port: its public half, signatures by an in-fleet root, and its hand-over. The private half passes here as ciphertext only.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bkv_wire::documents::{Kind, fingerprint};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Problem, Shared};
use crate::service::{HandOverError, SignError};

pub(super) async fn root(State(s): State<Shared>) -> Json<Value> {
    let custody = &s.vault.custody;
    Json(json!({
        "root": STANDARD.encode(custody.file()),
        "fingerprint": fingerprint("root", custody.file()),
        "held": custody.key().is_some(),
    }))
}

#[derive(Deserialize)]
pub(super) struct Which {
    kind: Option<String>,
}

/// `?kind=admission` or `?kind=policy`; the body is the unsigned document.
pub(super) async fn sign(
    State(s): State<Shared>,
    Query(which): Query<Which>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let kind = match which.kind.as_deref() {
        Some("admission") => Kind::Admission,
        Some("policy") => Kind::Policy,
        _ => {
            let (error, remedy) = ("missing or unknown".into(), "?kind=admission or ?kind=policy");
            return Err(Problem(StatusCode::BAD_REQUEST, "kind", error, remedy));
        }
    };
    let signed = s.vault.sign_document(kind, &body).map_err(|e| match &e {
        SignError::NotHeld => Problem(StatusCode::CONFLICT, "root", e.to_string(), NOT_HELD),
        _ => Problem(
            StatusCode::UNPROCESSABLE_ENTITY,
            kind.name(),
            e.to_string(),
            "send a document of this fleet that is valid now, with a higher number than the one in force",
        ),
    })?;
    Ok(Json(json!({ "signed": STANDARD.encode(signed) })))
}

const NOT_HELD: &str =
    "ask a vault whose status says root_held; if the root is offline, sign with `bkv ceremony sign`";

/// For every other admitted vault.
pub(super) async fn sealed(State(s): State<Shared>) -> Result<Json<Value>, Problem> {
    let all = s.vault.seal_root_for_members().map_err(|e| problem(&e))?;
    let each = |m: &crate::service::Sealed| json!({ "slot": m.slot, "region": m.region, "sealed": STANDARD.encode(&m.ciphertext) });
    Ok(Json(json!({ "for": all.iter().map(each).collect::<Vec<_>>() })))
}

#[derive(Deserialize)]
struct HandOver {
    sealed: String,
}

pub(super) async fn take(State(s): State<Shared>, body: Bytes) -> Result<Json<Value>, Problem> {
    let bad = |why: &str| {
        let remedy = "{\"sealed\": base64 of what another vault's GET /v1/root/sealed gave for this slot}";
        Problem(StatusCode::BAD_REQUEST, "sealed", why.into(), remedy)
    };
    let given: HandOver = serde_json::from_slice(&body).map_err(|_| bad("no JSON of the right shape"))?;
    let sealed = STANDARD.decode(given.sealed).map_err(|_| bad("not base64"))?;
    s.vault.take_root(&sealed).await.map_err(|e| problem(&e))?;
    Ok(Json(json!({ "held": true })))
}

fn problem(e: &HandOverError) -> Problem {
    let (status, remedy) = match e {
        HandOverError::NotHeld => (StatusCode::CONFLICT, NOT_HELD),
        HandOverError::NoDocuments | HandOverError::NotAdmitted => {
            (StatusCode::CONFLICT, "POST the signed admission list and policy first")
        }
        HandOverError::Delivery(_) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "carry what a vault of this fleet that holds the root sealed for this very slot",
        ),
        HandOverError::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "look at this vault's disk"),
    };
    Problem(status, "root", e.to_string(), remedy)
}
