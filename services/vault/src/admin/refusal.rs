//! A refusal as an HTTP answer.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bkv_admin_api::Problem;

/// HTTP status and problem.
pub(super) struct Refusal(StatusCode, Problem);

impl Refusal {
    #[allow(clippy::needless_pass_by_value)] // errors and texts alike
    pub(super) fn new(status: StatusCode, field: &str, error: impl ToString, remedy: &str) -> Self {
        Self(status, Problem { field: field.into(), error: error.to_string(), remedy: remedy.into() })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}
