use bkv_core::id::Route;
use bkv_wire::proto::outer::{Hello, Leadership};
use proptest::prelude::*;

use crate::routing::Routing;

fn hello(shards: u32, leaders: &[(u32, &str)]) -> Hello {
    let leaders =
        leaders.iter().map(|(shard, r)| Leadership { shard: *shard, region: (*r).to_owned() }).collect();
    Hello { region: "a".into(), shards, leaders }
}

#[test]
fn leaders_are_followed() {
    let mut r = Routing::new();
    assert_eq!(r.shard(&Route([7; 32])), None);
    r.hello(&hello(2, &[(0, "a"), (1, "b"), (2, "c")]));
    assert_eq!((r.leader(0), r.leader(1), r.leader(2)), (Some("a"), Some("b"), None));
    r.hello(&hello(2, &[(0, ""), (1, "c")]));
    assert_eq!((r.leader(0), r.leader(1)), (Some("a"), Some("c")), "unknown erases nothing");
    r.not_leader(1, "c", "b");
    assert_eq!(r.leader(1), Some("b"));
    r.not_leader(1, "b", "b");
    assert_eq!(r.leader(1), None, "a vault that denies and names itself");
    r.not_leader(0, "c", "");
    assert_eq!(r.leader(0), Some("a"), "said by another than the leader");
    r.lost("a");
    assert_eq!(r.leader(0), None);
    r.hello(&hello(0, &[]));
    r.hello(&hello(9999, &[(0, "x")]));
    assert_eq!((r.shards(), r.leader(0)), (2, None), "not initialised, or nonsense");
}

proptest! {
    #[test]
    fn a_route_always_falls_into_a_known_shard(route: [u8; 32], shards in 1u32..=4096) {
        let mut r = Routing::new();
        r.hello(&hello(shards, &[]));
        let route = Route(route);
        prop_assert_eq!(r.shard(&route), u16::try_from(shards).ok().map(|n| route.shard(n).0));
    }
}
