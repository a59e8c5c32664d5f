//! ChatD.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{Labels, Resources};

/// ChatD.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))").message("chatd.replicas and chatd.autoscaling exclude each other"))]
#[x_kube(validation = Rule::new("has(self.trustedProxies) || !has(self.expose) || !(has(self.expose.ingress) || has(self.expose.gateway))").message("chatd.trustedProxies is needed with chatd.expose.ingress or gateway: without it all clients share the limits of the proxy's address"))]
#[x_kube(validation = Rule::new("has(self.trustedProxies) || !has(self.proxyProtocol) || !self.proxyProtocol").message("chatd.proxyProtocol needs chatd.trustedProxies: ChatD accepts the header from no other address"))]
pub struct Chatd {
    /// Number of pods. Default: 2, so that one can fail. With 0 no client can connect, and the vaults keep running. Exclusive with autoscaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: Option<i32>,
    /// Lets a HorizontalPodAutoscaler set the number of pods, instead of `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// How clients reach ChatD: set exactly one of service, ingress, gateway. Default: a Service of type ClusterIP, which only clients in the cluster can reach.
    // No default in the schema. The API server would store it, it would stand beside a later choice, and `kubectl apply` could not remove it.
    #[serde(default, skip_serializing_if = "Expose::is_default")]
    pub expose: Expose,
    /// Networks of the proxies in front of ChatD, such as `10.0.8.0/24`: of the Ingress controller's or Gateway's pods, or of the load balancer. Needed with ingress and
    /// gateway. ChatD counts a client by the address that these proxies report in X-Forwarded-For. It ignores the header from any other address. Name no network that
    /// clients connect from: they could choose the address under which they are counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 3, max = 49), regex(pattern = r"^[0-9a-fA-F.:]+/[0-9]{1,3}$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub trusted_proxies: Vec<String>,
    /// True if each connection from a trusted proxy begins with a PROXY protocol header of version 2. Set it if you have turned the protocol on at the load balancer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_protocol: bool,
    /// CPU and memory of each pod. Default: requests 100m and 128Mi, memory limit 512Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Limits for one pod and one client.
    #[serde(default)]
    pub limits: ChatdLimits,
}

/// A HorizontalPodAutoscaler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas").message("chatd.autoscaling.minReplicas must not exceed maxReplicas"))]
pub struct Autoscaling {
    /// Minimum number of pods.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 100))]
    pub min_replicas: i32,
    /// Maximum number of pods.
    #[schemars(range(min = 1, max = 100))]
    pub max_replicas: i32,
    /// Target for the pods' average CPU use, in percent of the requested CPU. The autoscaler adds pods above it and removes pods below it.
    #[serde(rename = "targetCPUUtilization", default = "seventy")]
    #[schemars(range(min = 10, max = 100))]
    pub target_cpu_utilization: i32,
}

const fn two() -> i32 {
    2
}

const fn seventy() -> i32 {
    70
}

/// How clients reach ChatD: exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.service), has(self.ingress), has(self.gateway)].exists_one(x, x)").message("exactly one of service, ingress, gateway must be set in chatd.expose"))]
pub struct Expose {
    /// A Service: inside the cluster, on a port of every node, or with a load balancer. ChatD terminates TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceExpose>,
    /// An Ingress in front of a ClusterIP Service. Its controller terminates the clients' TLS and must use TLS towards ChatD. Most controllers need an annotation for
    /// that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressExpose>,
    /// An HTTPRoute of the Gateway API in front of a ClusterIP Service, with a BackendTLSPolicy (Gateway API 1.4 or newer), because ChatD accepts only TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayExpose>,
}

impl Expose {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Expose {
    fn default() -> Self {
        Self { service: Some(ServiceExpose::default()), ingress: None, gateway: None }
    }
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.nodePort) || self.type != 'ClusterIP'").message("chatd.expose.service.nodePort needs type NodePort or LoadBalancer"))]
pub struct ServiceExpose {
    /// ClusterIP: inside the cluster. NodePort: a port of every node. LoadBalancer: an address from the cloud.
    #[serde(rename = "type", default)]
    pub kind: ServiceType,
    /// A fixed node port. Default: Kubernetes chooses one. Needs type NodePort or LoadBalancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 30_000, max = 32_767))]
    pub node_port: Option<i32>,
    /// Annotations of the Service. Clouds configure their load balancers with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub annotations: Option<Labels>,
    /// Host names that clients use. They go into ChatD's certificate. A client that uses another name refuses to connect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub host_names: Vec<String>,
}

/// Types of Services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Inside the cluster.
    #[default]
    ClusterIP,
    /// A port of every node.
    NodePort,
    /// A load balancer of the cloud.
    LoadBalancer,
}

impl ServiceType {
    /// As Kubernetes spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// An Ingress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IngressExpose {
    /// IngressClass. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub class_name: Option<String>,
    /// Host name that clients use.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub host: String,
    /// Secret of type kubernetes.io/tls with the certificate that clients see.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub tls_secret_name: String,
    /// Annotations of the Ingress. Set long WebSocket time-outs, and TLS towards ChatD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub annotations: Option<Labels>,
}

/// An HTTPRoute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayExpose {
    /// Gateways that the route attaches to.
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub parent_refs: Vec<GatewayParent>,
    /// Host names that clients use.
    #[schemars(
        length(min = 1, max = 8),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub hostnames: Vec<String>,
}

/// A Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayParent {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Namespace of the Gateway. Default: the namespace of this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// Name of one listener. Default: all listeners that match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub section_name: Option<String>,
}

/// Limits for one pod and one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChatdLimits {
    /// Open connections of one pod. If you raise it, raise the memory limit too.
    #[serde(default = "connections")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_replica: u32,
    /// Open connections from one address. Raise it if many clients share an address, behind a carrier's gateway for example.
    #[serde(default = "per_address")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_address: u32,
    /// Frames per second of one account. ChatD closes a connection that sends more.
    #[serde(default = "frames")]
    #[schemars(range(min = 1, max = 1_000))]
    pub frames_per_second: u32,
}

const fn connections() -> u32 {
    20_000
}

const fn per_address() -> u32 {
    1_000
}

const fn frames() -> u32 {
    50
}

impl Default for ChatdLimits {
    fn default() -> Self {
        Self {
            connections_per_replica: connections(),
            connections_per_address: per_address(),
            frames_per_second: frames(),
        }
    }
}
