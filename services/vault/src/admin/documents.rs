//! Admission list and policy: the signed ones in force, and new ones.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use bkv_admin_api::{Installed, Lifted, Signed};
use bkv_core::document::Documents;
use bkv_wire::documents::Kind;

use super::Shared;
use super::refusal::Refusal;

/// The operator reads the signed list here if it lost its copy, and verifies it against the root.
pub(super) async fn admission(State(s): State<Shared>) -> Result<Json<Signed>, Refusal> {
    in_force(&s, |d| &d.admission_signed)
}

pub(super) async fn policy(State(s): State<Shared>) -> Result<Json<Signed>, Refusal> {
    in_force(&s, |d| &d.policy_signed)
}

fn in_force(s: &Shared, which: impl Fn(&Documents) -> &Vec<u8>) -> Result<Json<Signed>, Refusal> {
    let installed = s.vault.documents().ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "documents",
            "no documents are in force on this vault",
            "POST admission list and policy first",
        )
    })?;
    Ok(Json(Signed { signed: which(&installed.documents).clone() }))
}

pub(super) async fn install_admission(
    State(s): State<Shared>,
    body: Bytes,
) -> Result<Json<Installed>, Refusal> {
    install(&s, Kind::Admission, body).await
}

pub(super) async fn install_policy(State(s): State<Shared>, body: Bytes) -> Result<Json<Installed>, Refusal> {
    install(&s, Kind::Policy, body).await
}

async fn install(s: &Shared, kind: Kind, body: Bytes) -> Result<Json<Installed>, Refusal> {
    match s.vault.install(kind, body.to_vec(), &s.stop).await {
        Ok(number) => Ok(Json(Installed { kind: kind.name().into(), number })),
        Err(e) => Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            kind.name(),
            e,
            "have the document signed by the pinned root with `bkv ceremony sign`, with a higher number than the one in force",
        )),
    }
}

/// Ends a halt or quarantine of this vault. The role `admin` alone does not suffice: the root must have signed it.
pub(super) async fn lift(State(s): State<Shared>, body: Bytes) -> Result<Json<Lifted>, Refusal> {
    let remedy = "sign it with `bkv ceremony lift`, for the node, the shard and the stop that this vault's status reports";
    match s.vault.lift(&body).await {
        Ok(true) => Ok(Json(Lifted { lifted: true })),
        Ok(false) => {
            let error = "this vault has no halt or quarantine with that id in that shard";
            Err(Refusal::new(StatusCode::CONFLICT, "lift", error, remedy))
        }
        Err(e) => Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "lift", e, remedy)),
    }
}
