//! ChatD and how clients reach it: the checked types, and the checks.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::names::{self, HostName};
use super::refusal::Refusals;
use super::resources::Resources;
use super::{metadata, references, resources};
use crate::conditions::Reason;
use crate::resource::{self as spec, GatewayExpose, IngressExpose, ServiceExpose, ServiceType};

/// ChatD.
#[derive(Clone, Debug, PartialEq)]
pub struct Chatd {
    /// How many pods.
    pub scaling: Scaling,
    /// How clients reach it.
    pub expose: Expose,
    /// Networks of the proxies in front of it.
    pub trusted_proxies: Vec<IpNet>,
    /// Their connections begin with a PROXY header.
    pub proxy_protocol: bool,
    /// CPU and memory.
    pub resources: Resources,
    /// Connections of one pod.
    pub connections_per_replica: u32,
    /// Connections from one address.
    pub connections_per_address: u32,
    /// Frames a second of one account.
    pub frames_per_second: u32,
}

/// How many pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// A fixed number.
    Replicas(i32),
    /// An autoscaler sets the number.
    Automatic {
        /// At least.
        least: i32,
        /// At most.
        most: i32,
        /// Percent of the requested CPU.
        cpu: i32,
    },
}

/// How clients reach ChatD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expose {
    /// A Service.
    Service {
        /// Its type.
        kind: ServiceType,
        /// A fixed node port.
        node_port: Option<i32>,
        /// Its annotations.
        annotations: BTreeMap<String, String>,
        /// Host names.
        host_names: Vec<HostName>,
    },
    /// An Ingress.
    Ingress {
        /// Its class.
        class_name: Option<String>,
        /// Its host.
        host: HostName,
        /// Secret with its certificate.
        tls_secret: String,
        /// Its annotations.
        annotations: BTreeMap<String, String>,
    },
    /// An HTTPRoute.
    Gateway {
        /// Its Gateways.
        parents: Vec<Parent>,
        /// Host names.
        host_names: Vec<HostName>,
    },
}

/// A Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its listener.
    pub section_name: Option<String>,
}

pub(super) fn chatd(given: &spec::Chatd, refusals: &mut Refusals) -> Option<Chatd> {
    let default = resources::resources_of(100, 128, 512);
    let resources = resources::resources(given.resources.as_ref(), default, "spec.chatd.resources", refusals);
    let scaling = scaling(given, refusals);
    let limits = &given.limits;
    let at = |field| format!("spec.chatd.limits.{field}");
    refusals.range(&at("connectionsPerReplica"), limits.connections_per_replica, (1, 1_000_000));
    refusals.range(&at("connectionsPerAddress"), limits.connections_per_address, (1, 1_000_000));
    refusals.range(&at("framesPerSecond"), limits.frames_per_second, (1, 1_000));
    let requests_cpu = resources.requests.get("cpu").is_some_and(|c| c.thousandths() > 0);
    refusals.want(
        requests_cpu || given.autoscaling.is_none(),
        "spec.chatd.resources",
        Reason::Conflict,
        "set requests.cpu, or remove resources: autoscaling aims at a percentage of the requested CPU",
    );
    let trusted_proxies = proxies(given, refusals);
    Some(Chatd {
        scaling,
        expose: expose(&given.expose, refusals)?,
        trusted_proxies,
        proxy_protocol: given.proxy_protocol,
        resources,
        connections_per_replica: limits.connections_per_replica,
        connections_per_address: limits.connections_per_address,
        frames_per_second: limits.frames_per_second,
    })
}

fn proxies(given: &spec::Chatd, refusals: &mut Refusals) -> Vec<IpNet> {
    let behind_proxy = given.expose.ingress.is_some() || given.expose.gateway.is_some();
    refusals.want(
        !behind_proxy || !given.trusted_proxies.is_empty(),
        "spec.chatd.trustedProxies",
        Reason::Conflict,
        "name the networks of the proxies that expose.ingress or gateway puts in front of ChatD: without them all clients share the limits of the proxy's address",
    );
    refusals.want(
        !given.proxy_protocol || !given.trusted_proxies.is_empty(),
        "spec.chatd.proxyProtocol",
        Reason::Conflict,
        "needs trustedProxies: ChatD accepts the header from no other address",
    );
    if !given.trusted_proxies.is_empty() {
        refusals.range("spec.chatd.trustedProxies", given.trusted_proxies.len(), (1, 16));
    }
    let networks = given.trusted_proxies.iter().enumerate().filter_map(|(i, network)| {
        // A network of all addresses would let every client choose the address under which it is counted.
        match network.parse::<IpNet>().ok().filter(|n| n.prefix_len() > 0) {
            Some(network) => Some(network),
            None => refusals.refuse(
                format!("spec.chatd.trustedProxies[{i}]"),
                Reason::InvalidValue,
                "must be a network such as 10.0.8.0/24, and not of all addresses",
            ),
        }
    });
    networks.collect()
}

fn scaling(given: &spec::Chatd, refusals: &mut Refusals) -> Scaling {
    let Some(auto) = &given.autoscaling else {
        let replicas = given.replicas.unwrap_or(2);
        refusals.range("spec.chatd.replicas", replicas, (0, 100));
        return Scaling::Replicas(replicas);
    };
    refusals.want(
        given.replicas.is_none(),
        "spec.chatd.replicas",
        Reason::Conflict,
        "replicas and autoscaling exclude each other: remove one",
    );
    let at = |field| format!("spec.chatd.autoscaling.{field}");
    refusals.range(&at("minReplicas"), auto.min_replicas, (1, 100));
    refusals.range(&at("maxReplicas"), auto.max_replicas, (auto.min_replicas.clamp(1, 100), 100));
    refusals.range(&at("targetCPUUtilization"), auto.target_cpu_utilization, (10, 100));
    Scaling::Automatic { least: auto.min_replicas, most: auto.max_replicas, cpu: auto.target_cpu_utilization }
}

fn expose(given: &spec::Expose, refusals: &mut Refusals) -> Option<Expose> {
    match (&given.service, &given.ingress, &given.gateway) {
        (Some(service), None, None) => Some(by_service(service, refusals)),
        (None, Some(ingress), None) => by_ingress(ingress, refusals),
        (None, None, Some(gateway)) => Some(by_gateway(gateway, refusals)),
        _ => refusals.refuse(
            "spec.chatd.expose",
            Reason::ExactlyOne,
            "exactly one of service, ingress, gateway must be set",
        ),
    }
}

fn by_service(given: &ServiceExpose, refusals: &mut Refusals) -> Expose {
    let at = |field: &str| format!("spec.chatd.expose.service.{field}");
    if let Some(port) = given.node_port {
        refusals.range(&at("nodePort"), port, (30_000, 32_767));
        refusals.want(
            given.kind != ServiceType::ClusterIP,
            &at("nodePort"),
            Reason::Conflict,
            "needs type NodePort or LoadBalancer",
        );
    }
    Expose::Service {
        kind: given.kind,
        node_port: given.node_port,
        annotations: metadata::annotations(given.annotations.as_ref(), &at("annotations"), refusals),
        host_names: references::hosts(&given.host_names, &at("hostNames"), refusals),
    }
}

fn by_ingress(given: &IngressExpose, refusals: &mut Refusals) -> Option<Expose> {
    let at = |field: &str| format!("spec.chatd.expose.ingress.{field}");
    if let Some(class) = &given.class_name {
        references::object(class, &at("className"), refusals);
    }
    references::object(&given.tls_secret_name, &at("tlsSecretName"), refusals);
    let annotations = metadata::annotations(given.annotations.as_ref(), &at("annotations"), refusals);
    Some(Expose::Ingress {
        class_name: given.class_name.clone(),
        host: references::host(&given.host, &at("host"), refusals)?,
        tls_secret: given.tls_secret_name.clone(),
        annotations,
    })
}

fn by_gateway(given: &GatewayExpose, refusals: &mut Refusals) -> Expose {
    let at = |field: &str| format!("spec.chatd.expose.gateway.{field}");
    refusals.range(&at("parentRefs"), given.parent_refs.len(), (1, 4));
    refusals.range(&at("hostnames"), given.hostnames.len(), (1, 8));
    for (i, parent) in given.parent_refs.iter().enumerate() {
        let at = at(&format!("parentRefs[{i}]"));
        references::object(&parent.name, &format!("{at}.name"), refusals);
        for (field, value) in [("namespace", &parent.namespace), ("sectionName", &parent.section_name)] {
            let good = value.as_deref().is_none_or(names::object_name);
            refusals.want(good, &format!("{at}.{field}"), Reason::InvalidName, "must be an object's name");
        }
    }
    let parents = given.parent_refs.iter().map(|p| Parent {
        name: p.name.clone(),
        namespace: p.namespace.clone(),
        section_name: p.section_name.clone(),
    });
    Expose::Gateway {
        parents: parents.collect(),
        host_names: references::hosts(&given.hostnames, &at("hostnames"), refusals),
    }
}
