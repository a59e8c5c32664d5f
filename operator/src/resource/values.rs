//! Small values that several fields share, each with the pattern that the API server checks.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Annotations or labels.
pub type Labels = BTreeMap<String, String>;

/// A duration as Go and CEL write it: `90s`, `10m`, `168h`. At most five digits: a longer number would overflow CEL's duration, and the API server would report a
/// type conversion instead of the rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Period(pub String);

impl From<&str> for Period {
    fn from(s: &str) -> Self {
        Self(s.to_owned())
    }
}

impl Period {
    /// Milliseconds. None if the text does not match the pattern.
    pub fn milliseconds(&self) -> Option<u64> {
        let (mut rest, mut total) = (self.0.as_str(), 0u64);
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let (number, after) = rest.split_at_checked(digits)?;
            // `ms` before `m`: the longer unit first.
            let (factor, unit) = [("ms", 1u64), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)]
                .into_iter()
                .find_map(|(unit, factor)| after.starts_with(unit).then_some((factor, unit.len())))?;
            total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
            rest = after.get(unit..)?;
        }
        Some(total)
    }
}

impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 28, "pattern": "^([0-9]{1,5}(ms|s|m|h)){1,4}$" })
    }
}

/// A key of a Secret or ConfigMap in the resource's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyReference {
    /// Name of the object, in the namespace of this resource.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The key in the object. Default: `pin`, `jwks.json`, `root.bin` or `uri`, depending on the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,
}

impl KeyReference {
    /// The key, or the field's default.
    pub fn key_or<'a>(&'a self, default: &'a str) -> &'a str {
        self.key.as_deref().unwrap_or(default)
    }
}

/// An object in the resource's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NameReference {
    /// Name of the object, in the namespace of this resource.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// CPU and memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.requests) || !has(self.limits) || ((!has(self.requests.cpu) || !has(self.limits.cpu) || quantity(self.requests.cpu).compareTo(quantity(self.limits.cpu)) <= 0) && (!has(self.requests.memory) || !has(self.limits.memory) || quantity(self.requests.memory).compareTo(quantity(self.limits.memory)) <= 0))").message("resources.requests must not exceed resources.limits: no pod could be made of it"))]
pub struct Resources {
    /// What the scheduler reserves for the pod on its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Amounts>,
    /// What the pod must not exceed. Above the CPU limit it is throttled, above the memory limit it is killed and restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Amounts>,
}

/// Amounts, as Kubernetes quantities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Amounts {
    /// CPU cores: `500m` is half a core, `2` is two cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+)(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"))]
    pub cpu: Option<String>,
    /// Bytes: `256Mi`, `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+)(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"))]
    pub memory: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::Period;

    #[test]
    fn periods_are_read_as_go_reads_them() {
        for (text, want) in
            [("0s", 0), ("1500ms", 1500), ("1h30m", 5_400_000), ("168h", 604_800_000), ("1m1s1ms", 61_001)]
        {
            assert_eq!(Period::from(text).milliseconds(), Some(want), "{text}");
        }
        for bad in ["", "1", "s", "1d", "-1s", "1.5h", "1 h", "99999999999999999999h"] {
            assert_eq!(Period::from(bad).milliseconds(), None, "{bad}");
        }
    }
}
