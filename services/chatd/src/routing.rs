//! Which vault leads which shard, as the vaults' `Hello` and `NotLeader` say. Only a hint: a vault that is asked and does not lead says so.

use std::collections::BTreeMap;

use bkv_core::id::Route;
use bkv_wire::proto::outer;

/// More shards than a fleet can have: a `Hello` that says more is not believed.
pub const MAX_SHARDS: u32 = 4096;

/// What is known of leaders.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Routing {
    shards: u16,
    leaders: BTreeMap<u16, String>,
}

impl Routing {
    /// Nothing known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of shards; 0 until a vault has said it.
    pub const fn shards(&self) -> u16 {
        self.shards
    }

    /// The shard of a route; None until the number of shards is known.
    pub fn shard(&self, route: &Route) -> Option<u16> {
        (self.shards > 0).then(|| route.shard(self.shards).0)
    }

    /// The region to try first.
    pub fn leader(&self, shard: u16) -> Option<&str> {
        self.leaders.get(&shard).map(String::as_str)
    }

    /// A vault's word. An unknown leader in it does not erase what another vault said: a lagging vault knows less, not better.
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

    /// `said_by` does not lead `shard`; perhaps it knows who does. A vault that names itself is not believed.
    pub fn not_leader(&mut self, shard: u16, said_by: &str, region: &str) {
        if !region.is_empty() && region != said_by {
            self.leaders.insert(shard, region.to_owned());
        } else if self.leader(shard) == Some(said_by) {
            self.leaders.remove(&shard);
        }
    }

    /// The link to `region` is gone: nothing is sent there first until some vault names it again.
    pub fn lost(&mut self, region: &str) {
        self.leaders.retain(|_, leader| leader != region);
    }
}
