//! What Gateways report of an HTTPRoute. A route may exist although no Gateway serves it. Then no client can connect.

use serde_json::Value;

/// Why a Gateway does not serve a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RouteFault {
    /// The Gateway.
    pub gateway: String,
    /// Its reason, for people.
    pub message: String,
}

/// One fault for each Gateway of the route that does not serve it.
pub(super) fn route_faults(route: &Value) -> Vec<RouteFault> {
    list(route.pointer("/spec/parentRefs")).filter_map(|parent| fault(route, parent)).collect()
}

fn fault(route: &Value, parent: &Value) -> Option<RouteFault> {
    let (gateway, name) = (text(parent.get("name")), text(route.pointer("/metadata/name")));
    let reports: Vec<&Value> = list(route.pointer("/status/parents"))
        .filter(|s| s.get("parentRef").is_some_and(|of| same(route, of, parent)))
        .collect();
    if reports.is_empty() {
        let message = format!(
            "Gateway {gateway} has not reported on HTTPRoute {name} yet: check that a Gateway of that name exists and that a controller serves it"
        );
        return Some(RouteFault { gateway, message });
    }
    // One of several controllers is enough to serve it.
    let reasons: Option<Vec<&Value>> = reports.into_iter().map(unserved).collect();
    let condition = reasons?.into_iter().next()?;
    let (reason, detail) = (text(condition.get("reason")), text(condition.get("message")));
    let message = format!("Gateway {gateway} does not serve HTTPRoute {name}: {reason}: {detail}");
    Some(RouteFault { gateway, message })
}

fn same(route: &Value, one: &Value, other: &Value) -> bool {
    // A controller may fill in the namespace that the route leaves out.
    let place =
        |parent: &Value| text(parent.get("namespace").or_else(|| route.pointer("/metadata/namespace")));
    one.get("name") == other.get("name")
        && one.get("sectionName") == other.get("sectionName")
        && place(one) == place(other)
}

fn unserved(status: &Value) -> Option<&Value> {
    list(status.get("conditions")).find(|c| {
        let kind = c.get("type").and_then(Value::as_str);
        matches!(kind, Some("Accepted" | "ResolvedRefs")) && c.get("status").is_some_and(|s| s == "False")
    })
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn route(parents: &Value) -> Value {
        json!({
            "metadata": { "name": "demo-chatd", "namespace": "vaults" },
            "spec": { "parentRefs": [{ "name": "public", "sectionName": "https" }, { "name": "inner", "namespace": "other" }] },
            "status": { "parents": parents },
        })
    }

    fn report(parent: &Value, accepted: &str, resolved: &str) -> Value {
        json!({ "parentRef": parent, "conditions": [
            { "type": "Accepted", "status": accepted, "reason": "NotAllowedByListeners", "message": "no listener" },
            { "type": "ResolvedRefs", "status": resolved, "reason": "BackendNotFound", "message": "no Service" },
        ] })
    }

    #[test]
    fn each_gateway_that_does_not_serve_the_route_is_named_with_its_words() {
        let public = json!({ "name": "public", "sectionName": "https", "namespace": "vaults" });
        let inner = json!({ "name": "inner", "namespace": "other" });
        assert_eq!(
            route_faults(&route(&json!([report(&public, "True", "True"), report(&inner, "True", "True")]))),
            []
        );
        let found = route_faults(&route(&json!([report(&public, "False", "True")])));
        assert_eq!(found.len(), 2);
        assert!(
            found[0]
                .message
                .contains("public does not serve HTTPRoute demo-chatd: NotAllowedByListeners: no listener")
        );
        assert!(found[1].gateway == "inner" && found[1].message.contains("has not reported on"));
        // A report about another listener of the Gateway does not count for this one.
        let found = route_faults(&route(&json!([
            report(&json!({ "name": "public" }), "True", "True"),
            report(&inner, "True", "False")
        ])));
        assert!(
            found[0].message.contains("has not reported on") && found[1].message.contains("BackendNotFound")
        );
        assert_eq!(route_faults(&json!({})), []);
    }
}
