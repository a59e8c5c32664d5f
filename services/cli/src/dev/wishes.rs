//! The options of `bkv dev up`.

use bkv_core::id::{Era, FleetId, PublicKey, Time};
use bkv_wire::documents::{DocumentError, Root, write_policy};

use super::plan::{NetworkPlan, Plan, PolicyPlan};
use super::policy::policy;
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
    pub bound_tokens: bool,
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
            bound_tokens: self.bound_tokens,
        }
    }

    pub(crate) fn regions(&self) -> u8 {
        self.regions.unwrap_or(3)
    }

    pub(crate) fn shards(&self) -> u16 {
        self.shards.unwrap_or(4)
    }

    /// Refuses options that no new fleet can have, before anything is made: the vaults would refuse the policy, and the folder would be spoilt.
    pub(crate) fn check(&self) -> Outcome {
        if ![1, 3, 5].contains(&self.regions()) {
            let what = format!("--regions {}", self.regions());
            return Err(Failure::new(Exit::Config, what).remedy("A fleet can have 1, 3 or 5."));
        }
        let root = Root {
            keys: vec![PublicKey([1; 32])],
            threshold: 1,
            fleet: FleetId([0; 16]),
            era: Era(1),
            development: true,
        };
        let policy = policy(self.shards(), &self.policy(), &root, r#"{"keys":[]}"#.into(), Time(1));
        write_policy(&policy).map(drop).map_err(|e| {
            let (option, why) = match e {
                DocumentError::Field { field, why } if field == "shards" => ("--shards", why),
                DocumentError::Field { field, why } if field.contains("lifetime") => {
                    ("--lifetime-failures", why)
                }
                DocumentError::Field { field, why } if field.contains("waits") => ("--waits-ms", why),
                DocumentError::Field { field, .. } if field.contains("last_try") => {
                    ("--last-try-ms", "at least 1 is needed".into())
                }
                e => ("the options", e.to_string()),
            };
            Failure::new(Exit::Config, format!("{option}: {why}"))
                .remedy("Nothing was made. Choose another value.")
        })
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
        if self.bound_tokens && !policy.bound_tokens {
            return wrong("--bound-tokens", &"a policy that also takes tokens without a key");
        }
        if self.no_ksf && !policy.no_ksf {
            return wrong("--bench-no-ksf", &"key stretching");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_no_fleet_can_have_are_refused_by_name() {
        Wishes::default().check().unwrap();
        let refused = |wishes: Wishes, option: &str| {
            let e = wishes.check().unwrap_err();
            assert!(e.exit == Exit::Config && e.message.starts_with(option) && e.remedy.is_some(), "{e:?}");
        };
        refused(Wishes { regions: Some(2), ..Wishes::default() }, "--regions 2");
        refused(Wishes { shards: Some(0), ..Wishes::default() }, "--shards");
        refused(Wishes { shards: Some(257), ..Wishes::default() }, "--shards");
        refused(Wishes { last_try_ms: Some(0), ..Wishes::default() }, "--last-try-ms");
        refused(Wishes { lifetime_failures: Some(0), ..Wishes::default() }, "--lifetime-failures");
        refused(Wishes { waits_ms: Some(vec![0; 33]), ..Wishes::default() }, "--waits-ms");
    }
}
