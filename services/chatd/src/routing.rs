//! Which vaults claim to lead which shard. This is only a hint: a vault that does not lead answers `NotLeader`, and a vault may lie.
//!
//! A vault can claim leadership for itself alone. So a lying vault adds itself to the vaults that a stream tries, and removes no other.

use std::collections::{BTreeMap, BTreeSet};

use bkv_core::id::{Bucket, Route};
use bkv_wire::proto::outer;

/// Most shards of a fleet: a shard holds whole buckets. A `Hello` with more shards is ignored.
pub const MAX_SHARDS: u32 = Bucket::COUNT as u32;

/// What the connected vaults claim, by region.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Routing(BTreeMap<String, Claim>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    shards: u16,
    leads: BTreeSet<u16>,
}

impl Routing {
    /// Without any claim.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of shards, as most vaults report it. 0 before the first `Hello`.
    pub fn shards(&self) -> u16 {
        let vaults = |shards: u16| self.0.values().filter(|claim| claim.shards == shards).count();
        self.0.values().map(|claim| claim.shards).max_by_key(|shards| vaults(*shards)).unwrap_or(0)
    }

    /// The shard of a route. None until the number of shards is known.
    pub fn shard(&self, route: &Route) -> Option<u16> {
        let shards = self.shards();
        (shards > 0).then(|| route.shard(shards).0)
    }

    /// The regions whose vaults claim to lead the shard. More than one during an election, or if one of them lies.
    pub fn leaders(&self, shard: u16) -> Vec<&str> {
        let claims = self.0.iter().filter(|(_, claim)| claim.leads.contains(&shard));
        claims.map(|(region, _)| region.as_str()).collect()
    }

    /// Takes over what the vault in `region` claims for itself.
    pub fn hello(&mut self, region: &str, hello: &outer::Hello) {
        if hello.shards == 0 || hello.shards > MAX_SHARDS {
            return;
        }
        let Ok(shards) = u16::try_from(hello.shards) else { return };
        let own = hello.leaders.iter().filter(|l| l.region == region);
        let leads = own.filter_map(|l| u16::try_from(l.shard).ok()).filter(|shard| *shard < shards);
        self.0.insert(region.to_owned(), Claim { shards, leads: leads.collect() });
    }

    /// The link to `region` is lost. Forgets its claims until it sends a `Hello` again.
    pub fn lost(&mut self, region: &str) {
        self.0.remove(region);
    }
}
