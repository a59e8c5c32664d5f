//! ChatD.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{Labels, Resources};

/// ChatD.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))").message("chatd.replicas and chatd.autoscaling exclude each other"))]
pub struct Chatd {
    /// Number of pods. Default 2, so that one can be lost; 0 turns clients away and keeps the vaults running. Not together with autoscaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: Option<i32>,
    /// A HorizontalPodAutoscaler chooses the number of pods, instead of `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// How clients reach it: exactly one of service, ingress, gateway. Default: a Service of type ClusterIP, which only clients in the cluster can reach.
    // No default in the schema: one that is stored would stand beside the choice that is made later, and `kubectl apply` could not take it away.
    #[serde(default, skip_serializing_if = "Expose::is_default")]
    pub expose: Expose,
    /// CPU and memory of each pod. Default: 100m and 128Mi requested, 512Mi at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// What one pod and one client may do.
    #[serde(default)]
    pub limits: ChatdLimits,
}

/// A HorizontalPodAutoscaler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas").message("chatd.autoscaling.minReplicas must not exceed maxReplicas"))]
pub struct Autoscaling {
    /// Pods that there are at least.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 100))]
    pub min_replicas: i32,
    /// Pods that there are at most.
    #[schemars(range(min = 1, max = 100))]
    pub max_replicas: i32,
    /// Percent of the requested CPU that the pods should use on average: above it pods are added, below it taken away.
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
    /// A Service: inside the cluster, on a port of every node, or with a load balancer. TLS ends in ChatD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceExpose>,
    /// An Ingress before a ClusterIP Service. Its controller ends the clients' TLS and must speak TLS to ChatD (an annotation, for most).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressExpose>,
    /// An HTTPRoute of the Gateway API before a ClusterIP Service, with a BackendTLSPolicy (Gateway API 1.4 or newer): ChatD speaks only TLS.
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
    /// ClusterIP: inside the cluster. NodePort: a port of every node. LoadBalancer: an address of the cloud.
    #[serde(rename = "type", default)]
    pub kind: ServiceType,
    /// A fixed port of the nodes; default: Kubernetes chooses one. Needs type NodePort or LoadBalancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 30_000, max = 32_767))]
    pub node_port: Option<i32>,
    /// Annotations of the Service: how a cloud's load balancer is told what to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub annotations: Option<Labels>,
    /// Host names that clients use. They go into ChatD's certificate; a client that uses another name refuses to connect.
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
    /// IngressClass; default: the cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub class_name: Option<String>,
    /// Host name that clients use.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub host: String,
    /// Secret with the certificate that clients see (type kubernetes.io/tls).
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub tls_secret_name: String,
    /// Annotations of the Ingress: long WebSocket time-outs, TLS towards ChatD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub annotations: Option<Labels>,
}

/// An HTTPRoute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayExpose {
    /// Gateways that the route hangs on.
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
    /// Namespace of the Gateway; default: that of this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// One of its listeners; default: all that fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub section_name: Option<String>,
}

/// What one pod and one client may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChatdLimits {
    /// Connections that one pod keeps open. Raise the memory limit with it.
    #[serde(default = "connections")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_replica: u32,
    /// Connections from one address. Raise it where a load balancer hides the clients' own.
    #[serde(default = "per_address")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_address: u32,
    /// Frames a second of one account; more close its connection.
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
