//! Making the fleet, and giving up leadership.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bkv_admin_api::{FleetMade, SteppingDown};

use super::Shared;
use super::refusal::Refusal;
use crate::service::MakeFleetError;

/// The administrator calls this on one vault, once. Repeating it changes nothing.
pub(super) async fn init(State(s): State<Shared>) -> Result<Json<FleetMade>, Refusal> {
    s.vault.make_fleet().await.map_err(|e| {
        let (status, field, remedy) = match &e {
            MakeFleetError::NoDocuments => {
                (StatusCode::CONFLICT, "documents", "POST admission list and policy first")
            }
            MakeFleetError::Raft(_) | MakeFleetError::Outcome { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "raft",
                "start every vault of the admission list, then repeat the request",
            ),
        };
        Refusal::new(status, field, e, remedy)
    })?;
    Ok(Json(FleetMade { fleet: s.vault.root().fleet.to_string(), shards: s.vault.node().replicas().len() }))
}

pub(super) async fn step_down(State(s): State<Shared>) -> Json<SteppingDown> {
    for replica in s.vault.node().replicas() {
        replica.step_down();
    }
    Json(SteppingDown { stepping_down: true })
}
