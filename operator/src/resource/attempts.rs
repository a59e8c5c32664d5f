//! The attempt policy.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::values::Period;

/// The attempt policy: part of the signed policy, and frozen into each record at its registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.lifetimeFailures >= self.max").message("attempts.lifetimeFailures must be at least attempts.max"),
    validation = Rule::new("self.waits.all(w, duration(w) <= duration('8760h'))").message("each of attempts.waits must be at most 8760h (a year)"),
    validation = Rule::new("self.allowShortWaits || self.waits.exists(w, duration(w) > duration('8760h')) || self.waits.map(w, duration(w)).sum() >= duration('168h')")
        .message("attempts.waits must add up to at least 168h, or a stolen account token can destroy a key within minutes; allowShortWaits: true says that you mean it")
)]
pub struct Attempts {
    /// Wrong guesses between two right ones until the key is destroyed. Nobody can bring it back.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 20))]
    pub max: u32,
    /// Wrong guesses over the life of one registration after which it locks. It never destroys.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 10_000))]
    pub lifetime_failures: u32,
    /// How long to wait after the first, second … wrong guess; the last one repeats. Together at least 168h: a week in which a victim can notice.
    #[serde(default = "waits")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub waits: Vec<Period>,
    /// Waits may add up to less than a week. For tests: with a stolen token a key is destroyed within minutes.
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
