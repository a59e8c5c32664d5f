//! Kinds of other projects, which not every cluster knows: what is left out where one is missing is said.

use crate::kinds::Kind;
use crate::validate::{Expose, Fleet, Tls};

/// Kinds that the cluster knows beside its own, and that the operator may list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a kind
pub struct Kinds {
    /// networking.k8s.io/v1 Ingress: every cluster knows it, and not every operator may make one.
    pub ingress: bool,
    /// gateway.networking.k8s.io/v1 HTTPRoute.
    pub http_route: bool,
    /// gateway.networking.k8s.io/v1 BackendTLSPolicy: since Gateway API 1.4.
    pub backend_tls_policy: bool,
    /// cert-manager.io/v1 Certificate.
    pub certificate: bool,
    /// monitoring.coreos.com/v1 PodMonitor.
    pub pod_monitor: bool,
    /// monitoring.coreos.com/v1 PrometheusRule.
    pub prometheus_rule: bool,
}

impl Kinds {
    /// As of one moment: a plan and what is pruned after it must go by the same.
    pub fn of(knows: impl Fn(&str) -> bool) -> Self {
        Self {
            ingress: knows("Ingress"),
            http_route: knows("HTTPRoute"),
            backend_tls_policy: knows("BackendTLSPolicy"),
            certificate: knows("Certificate"),
            pod_monitor: knows("PodMonitor"),
            prometheus_rule: knows("PrometheusRule"),
        }
    }

    /// Was it planned with this kind?
    pub fn has(&self, kind: &Kind) -> bool {
        kind.always
            || match kind.kind {
                "Ingress" => self.ingress,
                "HTTPRoute" => self.http_route,
                "BackendTLSPolicy" => self.backend_tls_policy,
                "Certificate" => self.certificate,
                "PodMonitor" => self.pod_monitor,
                "PrometheusRule" => self.prometheus_rule,
                _ => false,
            }
    }
}

/// A kind that the spec needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The field that asks for it.
    pub field: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// Who brings it to a cluster.
    pub project: &'static str,
    /// The chart's value that gives the operator the right.
    pub integration: &'static str,
}

/// What the spec asks for beyond the kinds of every cluster.
pub fn needed(fleet: &Fleet) -> Vec<Needed> {
    let mut all = Vec::new();
    let mut add = |asked: bool, field, kind, project, integration| {
        if asked {
            all.push(Needed { field, kind, project, integration });
        }
    };
    let (route, gateway) =
        ("spec.chatd.expose.gateway", matches!(fleet.chatd.expose, Expose::Gateway { .. }));
    let ingress = matches!(fleet.chatd.expose, Expose::Ingress { .. });
    add(ingress, "spec.chatd.expose.ingress", "Ingress", "Kubernetes", "ingress");
    add(gateway, route, "HTTPRoute", "Gateway API", "gateway");
    add(gateway, route, "BackendTLSPolicy", "Gateway API 1.4 or newer", "gateway");
    let cert_manager = matches!(fleet.tls, Tls::CertManager { .. });
    add(cert_manager, "spec.tls.certManager", "Certificate", "cert-manager", "certManager");
    let (monitoring, project) = (&fleet.monitoring, "the Prometheus operator");
    let (monitor, rule) = ("spec.monitoring.podMonitor", "spec.monitoring.prometheusRule");
    add(monitoring.pod_monitor, monitor, "PodMonitor", project, "prometheusOperator");
    add(monitoring.prometheus_rule, rule, "PrometheusRule", project, "prometheusOperator");
    all
}

#[cfg(test)]
mod tests {
    use super::super::samples_test::{CASES, World};
    use super::*;
    use crate::kinds::ALL;

    /// A kind that is left out without a word would be missed for ever.
    #[test]
    fn every_planned_kind_that_a_cluster_may_lack_is_named_with_the_field_that_asks_for_it() {
        let mut seen = Vec::new();
        for (case, spec) in CASES {
            let world = World::case(spec);
            let needed: Vec<_> = needed(&world.fleet).iter().map(|n| n.kind).collect();
            let mut planned: Vec<_> = world.objects().iter().map(|o| o.kind).collect();
            planned.dedup();
            planned.retain(|k| Kind::named(k).is_some_and(|k| !k.always));
            for kind in &planned {
                assert!(needed.contains(kind), "{case}: {kind} is planned, and no field asks for it");
            }
            for kind in &needed {
                assert!(planned.contains(kind), "{case}: {kind} is asked for and not planned");
            }
            seen.extend(planned);
        }
        for kind in ALL.iter().filter(|k| !k.always) {
            assert!(seen.contains(&kind.kind), "no case has a {}", kind.kind);
            assert!(Kinds::of(|_| true).has(kind) && !Kinds::default().has(kind), "{}", kind.kind);
        }
    }
}
