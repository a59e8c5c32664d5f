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

    /// Makes each alert's `runbook_url` a link into the book that is published at `base`. The chart does the same with the alerts of its own rule.
    pub fn link_runbooks(&mut self, base: &str) {
        let rules = self.group.get_mut("rules").and_then(Value::as_array_mut);
        for rule in rules.into_iter().flatten() {
            // The page has the alert's name as its heading, and mdBook makes the heading's anchor from it.
            let anchor = rule.get("alert").and_then(Value::as_str).unwrap_or_default().to_lowercase();
            let Some(Value::String(url)) = rule.pointer_mut("/annotations/runbook_url") else { continue };
            if let Some(page) = url.strip_prefix("docs/").and_then(|path| path.strip_suffix(".md")) {
                *url = format!("{base}/{page}.html#{anchor}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Embedded, EmbeddedError};

    #[test]
    fn every_alert_links_to_its_page_and_anchor_in_the_book() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../monitoring");
        let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap();
        let mut embedded = Embedded::parse(&read("rules.yaml"), &read("dashboard.json")).unwrap();
        embedded.link_runbooks("https://docs.example/bkv");
        let rules = embedded.group["rules"].as_array().unwrap();
        assert!(rules.len() > 10);
        for rule in rules {
            let (alert, url) = (&rule["alert"], rule["annotations"]["runbook_url"].as_str().unwrap());
            let (page, anchor) =
                url.strip_prefix("https://docs.example/bkv/runbooks/").unwrap().split_once(".html#").unwrap();
            assert_eq!(anchor, alert.as_str().unwrap().to_lowercase());
            assert_eq!(page.replace('-', ""), anchor);
        }
    }

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
