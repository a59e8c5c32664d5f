//! Alerts and dashboard from the repository's `monitoring/`. They are parsed once at the start, so that planning can't fail.

use serde_json::{Map, Value};

/// The embedded alerts and dashboard.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// The alerts about a fleet: the group `bkv`. Those about the operator are the chart's.
    pub(super) group: Value,
    /// A Grafana dashboard.
    pub(super) dashboard: Map<String, Value>,
}

/// A file of the repository is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The alerts.
    #[error("monitoring/rules.yaml can't be read")]
    Rules(#[source] serde_norway::Error),
    /// The alerts again.
    #[error("monitoring/rules.yaml has no group `bkv`")]
    Group,
    /// The dashboard.
    #[error("monitoring/dashboard.json can't be read")]
    Dashboard(#[source] serde_json::Error),
}

impl Embedded {
    /// Reads `rules.yaml` and `dashboard.json`.
    pub fn parse(rules: &str, dashboard: &str) -> Result<Self, EmbeddedError> {
        let rules: Value = serde_norway::from_str(rules).map_err(EmbeddedError::Rules)?;
        let mut groups = rules.get("groups").and_then(Value::as_array).into_iter().flatten();
        let group = groups.find(|g| g.get("name").is_some_and(|n| n == "bkv")).cloned();
        let dashboard = serde_json::from_str(dashboard).map_err(EmbeddedError::Dashboard)?;
        Ok(Self { group: group.ok_or(EmbeddedError::Group)?, dashboard })
    }
}

#[cfg(test)]
mod tests {
    use super::{Embedded, EmbeddedError};

    #[test]
    fn files_that_are_not_what_they_should_be_are_named() {
        let two = "groups: [{name: other}, {name: bkv, rules: []}]";
        assert_eq!(
            Embedded::parse(two, "{}").unwrap().group,
            serde_json::json!({"name": "bkv", "rules": []})
        );
        for bad in ["groups: {}", "groups: [{name: other}]", "a: b"] {
            assert!(matches!(Embedded::parse(bad, "{}"), Err(EmbeddedError::Group)), "{bad}");
        }
        assert!(matches!(Embedded::parse("a: [", "{}"), Err(EmbeddedError::Rules(_))));
        for bad in ["{", "[]"] {
            assert!(matches!(Embedded::parse(two, bad), Err(EmbeddedError::Dashboard(_))), "{bad}");
        }
    }
}
