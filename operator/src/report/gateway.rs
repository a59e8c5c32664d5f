//! Reads from ChatD's `HTTPRoute` whether a Gateway serves it.

use kube::api::{Api, DynamicObject};

use super::route_faults::route_faults;
use crate::apply::ApplyReport;
use crate::conditions::{Check, Trouble};
use crate::context::Context;
use crate::kinds::Kind;
use crate::validate::Fleet;

/// Faults that Gateways report. A route that can't be read now is read again in the next pass.
pub(super) async fn troubles(context: &Context, fleet: &Fleet, applied: &ApplyReport) -> Vec<Trouble> {
    let Some(route) = applied.route() else { return Vec::new() };
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &fleet.namespace, &Kind::HttpRoute.resource());
    let Ok(Some(found)) = api.get_opt(route).await else { return Vec::new() };
    let faults = route_faults(&serde_json::to_value(&found).unwrap_or_default());
    faults.into_iter().map(|f| Trouble::new(Check::RouteNotServed, f.gateway, f.message)).collect()
}
