//! Services.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Object;
use crate::kinds::Kind;
use crate::part::Part;

/// One port of a Service, to the container's port of the same name.
pub(super) fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port: number.into(),
        target_port: Some(IntOrString::String(name.into())),
        protocol: Some("TCP".into()),
        ..ServicePort::default()
    }
}

/// A Service of type ClusterIP.
pub(super) fn inside(part: Part<'_>, name: String, ports: Vec<ServicePort>) -> Object {
    let spec = ServiceSpec {
        type_: Some("ClusterIP".into()),
        selector: Some(part.selector()),
        ports: Some(ports),
        ..ServiceSpec::default()
    };
    of(part, name, spec)
}

/// A name for each pod, whether it is ready or not.
pub(super) fn headless(part: Part<'_>, name: String, ports: Vec<ServicePort>) -> Object {
    let spec = ServiceSpec {
        type_: Some("ClusterIP".into()),
        cluster_ip: Some("None".into()),
        publish_not_ready_addresses: Some(true),
        selector: Some(part.selector()),
        ports: Some(ports),
        ..ServiceSpec::default()
    };
    of(part, name, spec)
}

fn of(part: Part<'_>, name: String, spec: ServiceSpec) -> Object {
    let service = Service { metadata: part.owned(&name), spec: Some(spec), status: None };
    Object::of(Kind::Service, name, &service)
}
