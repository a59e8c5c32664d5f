//! The fleet root: its public half, signatures by an in-fleet root, and its hand-over. The private half leaves the vault only as ciphertext.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use bkv_admin_api::{HandOver, PublicRoot, RootHeld, SealedRoot, SealedRoots, Signed, kind_of};
use bkv_wire::documents::fingerprint;
use serde::Deserialize;

use super::Shared;
use super::refusal::Refusal;
use crate::service::{HandOverError, SignError};

const NOT_HELD: &str =
    "ask a vault whose status has root_held; if the root is offline, sign with `bkv ceremony sign`";

pub(super) async fn root(State(s): State<Shared>) -> Json<PublicRoot> {
    let file = s.vault.root_file();
    Json(PublicRoot {
        root: file.to_vec(),
        fingerprint: fingerprint("root", file),
        held: s.vault.holds_root(),
    })
}

#[derive(Deserialize)]
pub(super) struct Which {
    kind: Option<String>,
}

/// The body is the unsigned document.
pub(super) async fn sign(
    State(s): State<Shared>,
    Query(which): Query<Which>,
    body: Bytes,
) -> Result<Json<Signed>, Refusal> {
    let Some(kind) = which.kind.as_deref().and_then(kind_of) else {
        let remedy = "add ?kind=admission or ?kind=policy";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "kind", "missing or unknown", remedy));
    };
    let signed = s.vault.sign_document(kind, &body).map_err(|e| match &e {
        SignError::NotHeld => Refusal::new(StatusCode::CONFLICT, "root", e, NOT_HELD),
        _ => Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            kind.name(),
            e,
            "send a document of this fleet that is valid now, with a higher number than the one in force",
        ),
    })?;
    Ok(Json(Signed { signed }))
}

/// Seals the private half for every other admitted vault.
pub(super) async fn sealed(State(s): State<Shared>) -> Result<Json<SealedRoots>, Refusal> {
    let all = s.vault.seal_root_for_members().map_err(refused)?;
    let members = all.into_iter();
    let members = members.map(|m| SealedRoot { slot: m.slot, region: m.region, sealed: m.ciphertext });
    Ok(Json(SealedRoots { members: members.collect() }))
}

pub(super) async fn take(State(s): State<Shared>, body: Bytes) -> Result<Json<RootHeld>, Refusal> {
    let given: HandOver = serde_json::from_slice(&body).map_err(|e| {
        let remedy = "send {\"sealed\": …} with what another vault's GET /v1/root/sealed answered for this vault's slot";
        Refusal::new(StatusCode::BAD_REQUEST, "sealed", e, remedy)
    })?;
    s.vault.take_root(&given.sealed).await.map_err(refused)?;
    Ok(Json(RootHeld { held: true }))
}

fn refused(e: HandOverError) -> Refusal {
    let (status, remedy) = match &e {
        HandOverError::NotHeld => (StatusCode::CONFLICT, NOT_HELD),
        HandOverError::NoDocuments | HandOverError::NotAdmitted => {
            (StatusCode::CONFLICT, "POST the signed admission list and policy first")
        }
        HandOverError::Delivery(_) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "send what a vault of this fleet that holds the root sealed for this very slot",
        ),
        HandOverError::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "look at this vault's disk"),
    };
    Refusal::new(status, "root", e, remedy)
}
