//! `plan.json`: what a local fleet consists of, fixed when it is made.

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
    /// The fleet was made: documents are installed and the shards are initialised.
    pub made: bool,
}

/// The part of the policy that options of `bkv dev up` set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolicyPlan {
    pub waits_ms: Vec<u64>,
    pub last_try_ms: u64,
    pub lifetime_failures: u32,
    pub no_ksf: bool,
}

impl Default for PolicyPlan {
    fn default() -> Self {
        Self { waits_ms: vec![0], last_try_ms: 10_000, lifetime_failures: 100, no_ksf: false }
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
}
