//! Does a Gateway serve the route before ChatD? Only it can say so.

use kube::api::{Api, DynamicObject};

use super::world::World;
use crate::conditions::{Check, Trouble};
use crate::kinds::Kind;
use crate::observe::route_faults;
use crate::plan::Object;
use crate::validate::Fleet;

/// What Gateways say of a route that was planned. A route that can't be read now is looked at again at the next pass.
pub(super) async fn troubles(world: &World, fleet: &Fleet, planned: &[Object]) -> Vec<Trouble> {
    let Some(route) = planned.iter().find(|o| o.kind == Kind::HttpRoute) else { return Vec::new() };
    let api: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), &fleet.namespace, &route.kind.resource());
    let Ok(Some(found)) = api.get_opt(&route.name).await else { return Vec::new() };
    let faults = route_faults(&serde_json::to_value(&found).unwrap_or_default());
    faults.into_iter().map(|f| Trouble::new(Check::RouteNotServed, f.gateway, f.message)).collect()
}
