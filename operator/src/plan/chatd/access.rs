//! How clients reach ChatD: its Service, and an Ingress or HTTPRoute before it. TLS goes through to ChatD either way.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};
use serde_json::json;

use super::super::labels::Part;
use super::super::{Input, Object, Stage, service};
use crate::resource::ServiceType;
use crate::validate::{Expose, HostName};

/// The Service's port for clients.
const HTTPS: i32 = 443;

pub(super) fn service(input: &Input<'_>, part: Part<'_>) -> Object {
    let name = input.fleet.names().chatd();
    let none = BTreeMap::new();
    let (kind, node_port, annotations) = match &input.fleet.chatd.expose {
        Expose::Service { kind, node_port, annotations, .. } => (*kind, *node_port, annotations),
        Expose::Ingress { .. } | Expose::Gateway { .. } => (ServiceType::ClusterIP, None, &none),
    };
    let mut metadata = part.owned(&name);
    metadata.annotations = (!annotations.is_empty()).then(|| annotations.clone());
    let service = Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(kind.as_str().into()),
            selector: Some(part.selector()),
            ports: Some(vec![ServicePort {
                app_protocol: Some("https".into()),
                node_port,
                ..service::port("public", HTTPS)
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    Object::typed(Stage::Services, name, &service)
}

pub(super) fn ingress(input: &Input<'_>, part: Part<'_>) -> Option<Object> {
    let Expose::Ingress { class_name, host, tls_secret, annotations } = &input.fleet.chatd.expose else {
        return None;
    };
    let name = input.fleet.names().chatd();
    let mut metadata = part.owned(&name);
    metadata.annotations = (!annotations.is_empty()).then(|| annotations.clone());
    let port = ServiceBackendPort { name: Some("public".into()), number: None };
    let backend = IngressServiceBackend { name: name.clone(), port: Some(port) };
    let ingress = Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: class_name.clone(),
            tls: Some(vec![IngressTLS {
                hosts: Some(vec![host.to_string()]),
                secret_name: Some(tls_secret.clone()),
            }]),
            rules: Some(vec![IngressRule {
                host: Some(host.to_string()),
                http: Some(HTTPIngressRuleValue {
                    paths: vec![HTTPIngressPath {
                        path: Some("/".into()),
                        path_type: "Prefix".into(),
                        backend: IngressBackend { service: Some(backend), resource: None },
                    }],
                }),
            }]),
            default_backend: None,
        }),
        status: None,
    };
    Some(Object::typed(Stage::Access, name, &ingress))
}

pub(super) fn http_route(input: &Input<'_>, part: Part<'_>) -> Option<Object> {
    let Expose::Gateway { parents, host_names } = &input.fleet.chatd.expose else { return None };
    if !input.kinds.http_route {
        return None;
    }
    let name = input.fleet.names().chatd();
    let parents: Vec<_> = parents
        .iter()
        .map(|parent| {
            let mut reference = json!({
                "group": "gateway.networking.k8s.io",
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
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
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
    Some(Object {
        api_version: "gateway.networking.k8s.io/v1",
        kind: "HTTPRoute",
        plural: "httproutes",
        name,
        stage: Stage::Access,
        body,
    })
}
