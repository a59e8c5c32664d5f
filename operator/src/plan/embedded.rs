//! Alerts and dashboard, as the repository's `monitoring/` has them: read once at the start, so that planning can't fail.

use serde_json::Value;

/// What the operator carries with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// `groups` of a PrometheusRule.
    pub(super) groups: Value,
    /// A Grafana dashboard.
    pub(super) dashboard: String,
}

/// A file of the repository is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The alerts.
    #[error("monitoring/rules.yaml can't be read")]
    Rules(#[source] serde_norway::Error),
    /// The alerts again.
    #[error("monitoring/rules.yaml has no list `groups`")]
    Groups,
    /// The dashboard.
    #[error("monitoring/dashboard.json can't be read")]
    Dashboard(#[source] serde_json::Error),
}

impl Embedded {
    /// Reads `rules.yaml` and `dashboard.json`.
    pub fn parse(rules: &str, dashboard: &str) -> Result<Self, EmbeddedError> {
        let mut rules: Value = serde_norway::from_str(rules).map_err(EmbeddedError::Rules)?;
        let groups = rules.get_mut("groups").map(Value::take).filter(Value::is_array);
        serde_json::from_str::<Value>(dashboard).map_err(EmbeddedError::Dashboard)?;
        Ok(Self { groups: groups.ok_or(EmbeddedError::Groups)?, dashboard: dashboard.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::{Embedded, EmbeddedError};

    #[test]
    fn files_that_are_not_what_they_should_be_are_named() {
        assert!(Embedded::parse("groups: [{name: bkv, rules: []}]", "{}").is_ok());
        assert!(matches!(Embedded::parse("groups: {}", "{}"), Err(EmbeddedError::Groups)));
        assert!(matches!(Embedded::parse("a: b", "{}"), Err(EmbeddedError::Groups)));
        assert!(matches!(Embedded::parse("a: [", "{}"), Err(EmbeddedError::Rules(_))));
        assert!(matches!(Embedded::parse("groups: []", "{"), Err(EmbeddedError::Dashboard(_))));
    }
}
