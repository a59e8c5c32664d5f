//! A Gateway before ChatD: the route, and the policy for TLS between Gateway and ChatD. Without the policy a Gateway sends plain HTTP, which ChatD
//! refuses. Few Gateways follow the Service's `appProtocol`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::super::{Input, Object};
use super::access::HTTPS;
use crate::kinds::Kind;
use crate::part::Part;
use crate::paths::AUTHORITY_FILE;
use crate::validate::{Expose, HostName};

const GROUP: &str = "gateway.networking.k8s.io";

pub(super) fn objects(input: &Input<'_>, part: Part<'_>) -> Vec<Object> {
    let route = input.kinds.contains(&Kind::HttpRoute).then(|| http_route(input, part)).flatten();
    let policy =
        if input.kinds.contains(&Kind::BackendTlsPolicy) { backend_tls(input, part) } else { Vec::new() };
    route.into_iter().chain(policy).collect()
}

fn http_route(input: &Input<'_>, part: Part<'_>) -> Option<Object> {
    let Expose::Gateway { parents, host_names } = &input.fleet.chatd.expose else { return None };
    let name = input.fleet.names().chatd();
    let parents: Vec<_> = parents
        .iter()
        .map(|parent| {
            let mut reference = json!({
                "group": GROUP,
                "kind": "Gateway",
                "name": parent.name,
            });
            for (field, value) in [("namespace", &parent.namespace), ("sectionName", &parent.section_name)] {
                if let (Some(value), Some(map)) = (value, reference.as_object_mut()) {
                    map.insert(field.into(), json!(value));
                }
            }
            reference
        })
        .collect();
    let hosts: Vec<&str> = host_names.iter().map(HostName::as_str).collect();
    let body = json!({
        "metadata": part.owned_json(&name, &BTreeMap::new()),
        "spec": {
            "parentRefs": parents,
            "hostnames": hosts,
            "rules": [{
                "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }],
                "backendRefs": [{ "group": "", "kind": "Service", "name": name, "port": HTTPS, "weight": 1 }],
            }],
        },
    });
    Some(Object::of(Kind::HttpRoute, name, &body))
}

/// How the Gateway verifies ChatD: by a certificate of this authority with the Service's name. A Gateway reads ConfigMaps and no Secrets.
fn backend_tls(input: &Input<'_>, part: Part<'_>) -> Vec<Object> {
    let (Expose::Gateway { .. }, Some(authority)) = (&input.fleet.chatd.expose, &input.content.web_authority)
    else {
        return Vec::new();
    };
    let (name, authorities) = (input.fleet.names().chatd(), input.fleet.names().chatd_ca());
    let map = ConfigMap {
        metadata: part.owned(&authorities),
        data: Some([(AUTHORITY_FILE.to_owned(), authority.clone())].into()),
        ..ConfigMap::default()
    };
    let body = json!({
        "metadata": part.owned_json(&name, &BTreeMap::new()),
        "spec": {
            "targetRefs": [{ "group": "", "kind": "Service", "name": name }],
            "validation": {
                "caCertificateRefs": [{ "group": "", "kind": "ConfigMap", "name": authorities }],
                "hostname": format!("{name}.{}.svc", input.fleet.namespace),
            },
        },
    });
    vec![Object::of(Kind::ConfigMap, authorities, &map), Object::of(Kind::BackendTlsPolicy, name, &body)]
}
