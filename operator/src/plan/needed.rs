//! Optional kinds that a spec needs. The operator reports each that the cluster lacks, and leaves its objects out of the plan.

use crate::kinds::Kind;
use crate::validate::{Expose, Fleet, Tls};

/// A kind that the spec needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The field that asks for it.
    pub field: &'static str,
    /// The kind.
    pub kind: Kind,
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
    add(ingress, "spec.chatd.expose.ingress", Kind::Ingress, "Kubernetes", "ingress");
    add(gateway, route, Kind::HttpRoute, "Gateway API", "gateway");
    add(gateway, route, Kind::BackendTlsPolicy, "Gateway API 1.4 or newer", "gateway");
    let cert_manager = matches!(fleet.tls, Tls::CertManager { .. });
    add(cert_manager, "spec.tls.certManager", Kind::Certificate, "cert-manager", "certManager");
    let (monitoring, project) = (&fleet.monitoring, "the Prometheus operator");
    let (monitor, rule) = ("spec.monitoring.podMonitor", "spec.monitoring.prometheusRule");
    add(monitoring.pod_monitor, monitor, Kind::PodMonitor, project, "prometheusOperator");
    add(monitoring.prometheus_rule, rule, Kind::PrometheusRule, project, "prometheusOperator");
    all
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::super::samples_test::{CASES, World};
    use super::*;

    /// A kind that is left out must be reported, or nobody would notice that its objects are missing.
    #[test]
    fn every_planned_kind_that_a_cluster_may_lack_is_named_with_the_field_that_asks_for_it() {
        let mut seen = Vec::new();
        for (case, spec) in CASES {
            let world = World::case(spec);
            let needed: Vec<_> = needed(&world.fleet).iter().map(|n| n.kind).collect();
            let mut planned: Vec<_> = world.objects().iter().map(|o| o.kind).collect();
            planned.dedup();
            planned.retain(|k| k.optional());
            for kind in &planned {
                assert!(needed.contains(kind), "{case}: {kind} is planned, and no field asks for it");
            }
            for kind in &needed {
                assert!(planned.contains(kind), "{case}: {kind} is asked for and not planned");
            }
            seen.extend(planned);
        }
        for kind in Kind::VARIANTS.iter().filter(|k| k.optional()) {
            assert!(seen.contains(kind), "no case has a {kind}");
        }
    }
}
