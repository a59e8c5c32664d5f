//! Which vault leads which shard, from the vaults' `Hello` and `NotLeader`. This is only a hint: a vault that does not lead answers `NotLeader`.

use std::collections::BTreeMap;

use bkv_core::id::Route;
use bkv_wire::proto::outer;

/// Most shards of a fleet. A `Hello` with more shards is ignored.
pub const MAX_SHARDS: u32 = 4096;

/// The number of shards and their known leaders.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Routing {
    shards: u16,
    leaders: BTreeMap<u16, String>,
}

impl Routing {
    /// Without any leader.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of shards. 0 before the first `Hello`.
    pub const fn shards(&self) -> u16 {
        self.shards
    }

    /// The shard of a route. None until the number of shards is known.
    pub fn shard(&self, route: &Route) -> Option<u16> {
        (self.shards > 0).then(|| route.shard(self.shards).0)
    }

    /// The region to try first.
    pub fn leader(&self, shard: u16) -> Option<&str> {
        self.leaders.get(&shard).map(String::as_str)
    }

    /// Takes over the leaders that a vault's `Hello` names. Keeps a known leader if this `Hello` names none for its shard: the vault may lag behind.
    pub fn hello(&mut self, hello: &outer::Hello) {
        if hello.shards == 0 || hello.shards > MAX_SHARDS {
            return;
        }
        let Ok(shards) = u16::try_from(hello.shards) else { return };
        self.shards = shards;
        self.leaders.retain(|shard, _| *shard < shards);
        for l in &hello.leaders {
            if let (Ok(shard), false) = (u16::try_from(l.shard), l.region.is_empty())
                && shard < shards
            {
                self.leaders.insert(shard, l.region.clone());
            }
        }
    }

    /// The vault in `sender` does not lead `shard`. `region` is the leader's region, or empty if the vault does not know it. Ignores a vault that names
    /// itself.
    pub fn not_leader(&mut self, shard: u16, sender: &str, region: &str) {
        if !region.is_empty() && region != sender {
            self.leaders.insert(shard, region.to_owned());
        } else if self.leader(shard) == Some(sender) {
            self.leaders.remove(&shard);
        }
    }

    /// The link to `region` is lost. Forgets `region` as a leader until a vault names it again.
    pub fn lost(&mut self, region: &str) {
        self.leaders.retain(|_, leader| leader != region);
    }
}
