//! The network between the regions.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::values::Period;

/// The network between the regions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    /// The longest round trip between two regions that the vaults' time limits follow, from 10ms to 1s. The vaults measure the real ones, so raise it only if regions are further
    /// apart. A change takes effect when each vault has restarted.
    #[serde(default = "max_round_trip")]
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('10ms') && duration(self) <= duration('1s')").message("network.maxRoundTrip must be from 10ms to 1s")
    )]
    pub max_round_trip: Period,
}

fn max_round_trip() -> Period {
    Period::from("400ms")
}

impl Default for Network {
    fn default() -> Self {
        Self { max_round_trip: max_round_trip() }
    }
}
