//! `plan.json`: what a local fleet consists of, fixed when it is made.

use std::fmt;

use bkv_config::vault;
use serde::{Deserialize, Serialize};

/// `plan.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub regions: Vec<RegionPlan>,
    pub shards: u16,
    pub chatd: u16,
    pub chatd_health: u16,
    pub postgres: bool,
    /// What its policy was made of.
    #[serde(default)]
    pub policy: PolicyPlan,
    /// The delays between its regions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkPlan>,
    /// The round trip in milliseconds that its vaults reckon with.
    #[serde(default = "usual_round_trip")]
    pub max_round_trip_ms: u64,
    /// The fleet was made: documents are installed and the shards are initialised.
    pub made: bool,
}

pub(crate) fn usual_round_trip() -> u64 {
    vault::Network::default().max_round_trip_ms
}

impl Plan {
    /// Every port of the fleet.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        let vaults = self
            .regions
            .iter()
            .flat_map(|r| [r.peer, r.relay, r.admin, r.health].into_iter().chain(r.network));
        vaults.chain([self.chatd, self.chatd_health])
    }
}

/// The part of the policy that options of `bkv dev up` set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolicyPlan {
    pub waits_ms: Vec<u64>,
    pub last_try_ms: u64,
    pub lifetime_failures: u32,
    pub no_ksf: bool,
    #[serde(default)]
    pub bound_tokens: bool,
}

impl Default for PolicyPlan {
    fn default() -> Self {
        Self {
            waits_ms: vec![0],
            last_try_ms: 10_000,
            lifetime_failures: 100,
            no_ksf: false,
            bound_tokens: false,
        }
    }
}

/// The delays between regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkPlan {
    pub round_trip_ms: u64,
    pub jitter_percent: u8,
}

impl NetworkPlan {
    /// The longest round trip that its delays can add up to.
    pub(crate) fn longest_ms(self) -> u64 {
        self.round_trip_ms.saturating_mul(100 + u64::from(self.jitter_percent)) / 100
    }

    /// The round trip that the vaults of a new fleet reckon with: the longest, within what their configuration takes.
    pub(crate) fn max_round_trip_ms(self) -> u64 {
        self.longest_ms().clamp(usual_round_trip(), vault::LONGEST_ROUND_TRIP_MS)
    }
}

impl fmt::Display for NetworkPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "round trip {} ms, jitter {} %", self.round_trip_ms, self.jitter_percent)
    }
}

/// One region's ports.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RegionPlan {
    pub name: String,
    pub peer: u16,
    pub relay: u16,
    pub admin: u16,
    pub health: u16,
    /// Where the other regions connect instead of `peer`, if connections between regions are delayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<u16>,
}

impl RegionPlan {
    /// The port that the other regions use.
    pub(crate) fn peer_for_others(&self) -> u16 {
        self.network.unwrap_or(self.peer)
    }
}
