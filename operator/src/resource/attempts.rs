//! The attempt policy.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::values::Period;

/// The attempt policy. It is part of the signed policy, and each registration keeps the values of its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.lifetimeFailures >= self.max").message("attempts.lifetimeFailures must be at least attempts.max"),
    validation = Rule::new("self.waits.all(w, duration(w) <= duration('8760h'))").message("each of attempts.waits must be at most 8760h (a year)"),
    validation = Rule::new("self.allowShortWaits || self.waits.exists(w, duration(w) > duration('8760h')) || self.waits.map(w, duration(w)).sum() >= duration('168h')")
        .message("attempts.waits must add up to at least 168h, or a stolen account token can destroy a key within minutes; set allowShortWaits: true to accept that")
)]
pub struct Attempts {
    /// Wrong passwords in a row after which the key is destroyed. It can't be restored.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 20))]
    pub max: u32,
    /// Wrong passwords over the life of one registration after which it locks. This limit never destroys the key.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 10_000))]
    pub lifetime_failures: u32,
    /// How long people wait after the first, second … wrong password. The last wait repeats. The waits must add up to at least 168h, so that a victim has a week to
    /// notice an attack.
    #[serde(default = "waits")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub waits: Vec<Period>,
    /// Allows waits that add up to less than a week. For tests only: with a stolen token an attacker can destroy a key within minutes.
    #[serde(default)]
    pub allow_short_waits: bool,
}

const fn ten() -> u32 {
    10
}

const fn hundred() -> u32 {
    100
}

fn waits() -> Vec<Period> {
    ["0s", "0s", "1m", "10m", "1h", "6h", "24h", "48h", "96h"].map(Period::from).to_vec()
}

impl Default for Attempts {
    fn default() -> Self {
        Self { max: ten(), lifetime_failures: hundred(), waits: waits(), allow_short_waits: false }
    }
}
