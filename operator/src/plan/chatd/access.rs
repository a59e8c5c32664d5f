//! How clients reach ChatD: its Service, and an Ingress before it, which uses TLS towards ChatD too. `gateway` has the third way.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};

use super::super::{Input, Object, service};
use crate::kinds::Kind;
use crate::part::Part;
use crate::validate::Expose;
use crate::validate::ServiceType;

/// The Service's port for clients.
pub(super) const HTTPS: u16 = 443;

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
            // With Cluster, the default, ChatD would see a node's address in place of the client's.
            external_traffic_policy: (kind == ServiceType::LoadBalancer).then(|| "Local".into()),
            ports: Some(vec![ServicePort {
                app_protocol: Some("https".into()),
                node_port,
                ..service::port("public", HTTPS)
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    Object::of(Kind::Service, name, &service)
}

pub(super) fn ingress(input: &Input<'_>, part: Part<'_>) -> Option<Object> {
    let Expose::Ingress { class_name, host, tls_secret, annotations } = &input.fleet.chatd.expose else {
        return None;
    };
    if !input.kinds.contains(&Kind::Ingress) {
        return None;
    }
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
    Some(Object::of(Kind::Ingress, name, &ingress))
}
