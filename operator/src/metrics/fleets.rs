//! Metrics about resources. The operator keeps a few numbers for each and makes the series at a scrape: with hundreds of resources, stored series would
//! be most of its memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::TextEncoder;
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};
use strum::VariantArray as _;

use crate::conditions::Condition;
use crate::resource::BackupKeyVaultStatus;

/// What is exposed of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shown {
    /// Condition, and whether it is True. A condition that the resource lacks is not exposed.
    conditions: Vec<(&'static str, bool)>,
    /// Check of a wait, and the number of its waits.
    waits: BTreeMap<Box<str>, i32>,
    /// Voters, required, in sync, tolerated.
    quorum: Option<[u32; 4]>,
    /// The earliest end of a certificate of each kind, seconds since the epoch.
    certificates: Vec<(&'static str, i64)>,
}

impl Shown {
    fn of(status: &BackupKeyVaultStatus) -> Self {
        let condition = |kind: &Condition| {
            let kind = kind.name();
            let found = status.conditions.iter().find(|c| c.type_ == kind)?;
            Some((kind, found.status == "True"))
        };
        let first = |(kind, label): (&str, &'static str)| {
            let of_kind = status.certificates.iter().filter(|c| c.kind == kind);
            Some((label, of_kind.map(|c| c.not_after.0.as_second()).min()?))
        };
        let mut waits = BTreeMap::new();
        for wait in &status.waits {
            *waits.entry(wait.check.as_str().into()).or_insert(0) += 1;
        }
        Self {
            conditions: Condition::VARIANTS.iter().filter_map(condition).collect(),
            waits,
            quorum: status.quorum.map(|q| [q.voters, q.required, q.in_sync, q.tolerates]),
            certificates: [("Leaf", "leaf"), ("Authority", "ca")].into_iter().filter_map(first).collect(),
        }
    }
}

/// All resources of which a pass recorded numbers. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Fleets(Arc<Mutex<BTreeMap<(String, String), Shown>>>);

impl Fleets {
    pub(super) fn show(&self, namespace: &str, name: &str, status: &BackupKeyVaultStatus) {
        let key = (namespace.to_owned(), name.to_owned());
        self.0.lock().insert(key, Shown::of(status));
    }

    pub(super) fn forget(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.0.lock().remove(&key);
    }

    /// Appends every metric in Prometheus' text format.
    pub(super) fn write(&self, text: &mut String) {
        let all = self.0.lock();
        let mut family = |name: &str, help: &str, of: &dyn Fn(&Shown) -> Vec<(Option<LabelPair>, f64)>| {
            let mut metrics = Vec::new();
            for ((namespace, bkv), shown) in all.iter() {
                for (more, value) in of(shown) {
                    let mut labels = vec![label("namespace", namespace), label("bkv", bkv)];
                    labels.extend(more);
                    metrics.push(sample(labels, value));
                }
            }
            encode(text, name, help, metrics);
        };
        family("bkv_operator_condition", "1 while the condition is True", &|s| {
            let one = |(kind, holds): &(&str, bool)| (Some(label("type", kind)), f64::from(u8::from(*holds)));
            s.conditions.iter().map(one).collect()
        });
        family("bkv_operator_waits", "What is waited for, by check", &|s| {
            s.waits.iter().map(|(check, n)| (Some(label("check", check)), f64::from(*n))).collect()
        });
        let quorum = [
            ("bkv_operator_quorum_voters", "Regions that vote"),
            ("bkv_operator_quorum_required", "A majority of them"),
            ("bkv_operator_quorum_in_sync", "Regions that are up and verified"),
            ("bkv_operator_quorum_tolerates", "Regions that may still be lost"),
        ];
        for (index, (name, help)) in quorum.into_iter().enumerate() {
            family(name, help, &|s| {
                let number = s.quorum.as_ref().and_then(|q| q.get(index));
                number.map(|n| (None, f64::from(*n))).into_iter().collect()
            });
        }
        let name = "bkv_certificate_not_after_timestamp_seconds";
        family(name, "When the first certificate of its kind ends", &|s| {
            #[allow(clippy::cast_precision_loss)] // seconds since 1970
            let one = |(kind, at): &(&str, i64)| (Some(label("kind", kind)), *at as f64);
            s.certificates.iter().map(one).collect()
        });
    }
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn sample(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::from_label(labels);
    metric.set_gauge(gauge);
    metric
}

fn encode(text: &mut String, name: &str, help: &str, metrics: Vec<Metric>) {
    // The encoder refuses a family without metrics.
    if metrics.is_empty() {
        return;
    }
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(MetricType::GAUGE);
    family.set_metric(metrics);
    // Encoding fails only for a family without metrics or without a name.
    let _ = TextEncoder::new().encode_utf8(&[family], text);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_shown_is_what_the_status_says_and_nothing_of_who_is_gone() {
        let status = |ready: &str| -> BackupKeyVaultStatus {
            serde_json::from_value(json!({
                "conditions": [{ "type": "Ready", "status": ready, "reason": "r", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
                "waits": [
                    { "check": "VaultStarting", "target": "a", "message": "" },
                    { "check": "VaultStarting", "target": "b", "message": "" },
                ],
                "quorum": { "voters": 3, "required": 2, "inSync": 1, "tolerates": 0 },
                "certificates": [
                    { "name": "x", "kind": "Leaf", "notAfter": "1970-01-01T00:00:09Z" },
                    { "name": "y", "kind": "Leaf", "notAfter": "1970-01-01T00:00:07Z" },
                ],
            }))
            .unwrap()
        };
        let (fleets, mut text) = (Fleets::default(), String::new());
        fleets.write(&mut text);
        assert_eq!(text, "");
        fleets.show("n", "demo", &status("False"));
        fleets.show("n", "other", &status("True"));
        fleets.write(&mut text);
        for line in [
            "# TYPE bkv_operator_condition gauge",
            r#"bkv_operator_condition{namespace="n",bkv="demo",type="Ready"} 0"#,
            r#"bkv_operator_condition{namespace="n",bkv="other",type="Ready"} 1"#,
            r#"bkv_operator_waits{namespace="n",bkv="demo",check="VaultStarting"} 2"#,
            r#"bkv_operator_quorum_in_sync{namespace="n",bkv="demo"} 1"#,
            r#"bkv_certificate_not_after_timestamp_seconds{namespace="n",bkv="demo",kind="leaf"} 7"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
        }
        assert!(!text.contains("Accepted") && !text.contains("kind=\"ca\""), "{text}");
        fleets.forget("n", "demo");
        text.clear();
        fleets.write(&mut text);
        assert!(text.contains("other") && !text.contains("demo"), "{text}");
    }
}
