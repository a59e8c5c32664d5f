//! The options of `bkv dev up`.

use super::plan::{NetworkPlan, Plan, PolicyPlan};
use crate::exit::{Exit, Failure, Outcome};

/// What the options ask for. A missing one leaves the choice to the fleet that exists, or to the defaults.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    pub regions: Option<u8>,
    pub shards: Option<u16>,
    pub waits_ms: Option<Vec<u64>>,
    pub last_try_ms: Option<u64>,
    pub lifetime_failures: Option<u32>,
    pub network: Option<NetworkPlan>,
    pub no_postgres: bool,
    pub no_ksf: bool,
}

impl Wishes {
    /// The policy of a new fleet.
    pub(crate) fn policy(&self) -> PolicyPlan {
        let usual = PolicyPlan::default();
        PolicyPlan {
            waits_ms: self.waits_ms.clone().unwrap_or(usual.waits_ms),
            last_try_ms: self.last_try_ms.unwrap_or(usual.last_try_ms),
            lifetime_failures: self.lifetime_failures.unwrap_or(usual.lifetime_failures),
            no_ksf: self.no_ksf,
        }
    }

    /// Refuses a wish that differs from the existing fleet: everything is fixed when a fleet is made, so the wish would be ignored.
    pub(crate) fn fit(&self, plan: &Plan) -> Outcome {
        let wrong = |option: &str, has: &dyn std::fmt::Display| {
            Err(Failure::new(
                Exit::Config,
                format!("{option}: the fleet in this folder has {has}, and that is fixed when it is made"),
            )
            .remedy("Leave the option out, or make another fleet in a folder of its own, with --dir."))
        };
        let policy = &plan.policy;
        if self.regions.is_some_and(|r| usize::from(r) != plan.regions.len()) {
            return wrong("--regions", &plan.regions.len());
        }
        if self.shards.is_some_and(|s| s != plan.shards) {
            return wrong("--shards", &plan.shards);
        }
        if self.waits_ms.as_ref().is_some_and(|w| *w != policy.waits_ms) {
            let waits: Vec<String> = policy.waits_ms.iter().map(ToString::to_string).collect();
            return wrong("--waits-ms", &waits.join(","));
        }
        if self.last_try_ms.is_some_and(|l| l != policy.last_try_ms) {
            return wrong("--last-try-ms", &policy.last_try_ms);
        }
        if self.lifetime_failures.is_some_and(|l| l != policy.lifetime_failures) {
            return wrong("--lifetime-failures", &policy.lifetime_failures);
        }
        if self.network.is_some() && self.network != plan.network {
            let has = plan.network.map_or("no delays".to_owned(), |n| n.to_string());
            return wrong("--round-trip and --jitter", &has);
        }
        if self.no_postgres && plan.postgres {
            return wrong("--no-postgres", &"Postgres");
        }
        if self.no_ksf && !policy.no_ksf {
            return wrong("--bench-no-ksf", &"key stretching");
        }
        Ok(())
    }
}
