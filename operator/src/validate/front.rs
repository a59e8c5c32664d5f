//! ChatD and how it is reached, checked.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::names::HostName;
use super::resources::Resources;
use crate::resource::ServiceType;

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
