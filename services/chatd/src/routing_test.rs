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
    assert_eq!((r.shard(&Route([7; 32])), r.shards()), (None, 0));
    r.hello("a", &hello(2, &[(0, "a"), (1, "b"), (2, "a")]));
    r.hello("b", &hello(2, &[(0, "a"), (1, "b")]));
    assert_eq!((r.leaders(0), r.leaders(1), r.leaders(2)), (vec!["a"], vec!["b"], vec![]));
    r.hello("a", &hello(2, &[(0, ""), (1, "b")]));
    assert_eq!(r.leaders(0), Vec::<&str>::new(), "it leads no more");
    r.hello("a", &hello(2, &[(1, "a")]));
    assert_eq!(r.leaders(1), ["a", "b"], "an election: both claim it");
    r.lost("a");
    assert_eq!(r.leaders(1), ["b"]);
    r.hello("b", &hello(0, &[]));
    r.hello("b", &hello(9999, &[(0, "b")]));
    assert_eq!((r.shards(), r.leaders(0)), (2, vec![]), "not initialised, or nonsense");
}

#[test]
fn s49_a_vault_claims_for_itself_alone_and_removes_nobody() {
    let mut r = Routing::new();
    for region in ["a", "b", "c"] {
        r.hello(region, &hello(2, &[(0, "b"), (1, "c")]));
    }
    r.hello("a", &hello(2, &[(0, "a"), (1, "a")]));
    assert_eq!((r.leaders(0), r.leaders(1)), (vec!["a", "b"], vec!["a", "c"]));
    r.hello("a", &hello(2, &[(0, "c"), (1, "b")]));
    assert_eq!((r.leaders(0), r.leaders(1)), (vec!["b"], vec!["c"]), "it names others");
    r.hello("a", &hello(7, &[(0, "a")]));
    assert_eq!(r.shards(), 2, "one vault does not change the number of shards");
}

proptest! {
    #[test]
    fn a_route_always_falls_into_a_known_shard(route: [u8; 32], shards in 1u32..=4096) {
        let mut r = Routing::new();
        r.hello("a", &hello(shards, &[]));
        let route = Route(route);
        prop_assert_eq!(r.shard(&route), u16::try_from(shards).ok().map(|n| route.shard(n).0));
    }
}
