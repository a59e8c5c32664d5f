//! S49: a vault that lies to ChatD ends no client's service while the other regions serve. The lies are made between the vault and ChatD: the vault's own
//! program tells none.

use std::sync::Arc;

use bkv_stack_tests::chatd::Chatd;
use bkv_stack_tests::issuer::{CHATD, VAULT};
use bkv_stack_tests::raw::Inner;
use bkv_stack_tests::relay_proxy::{Meddle, RelayProxies};
use bkv_stack_tests::{Fleet, RIGHT};
use bkv_wire::proto::outer::frame::Body;
use bkv_wire::proto::outer::{self as o};

/// The region whose vault leads alice's shard.
async fn leader(fleet: &Fleet) -> String {
    let (endpoint, settings, issuer) = (fleet.endpoint(), fleet.identities().await, fleet.issuer());
    let mut raw = endpoint.relay(&issuer.good("alice", CHATD)).await.unwrap();
    let inner = Inner::entered(&mut raw, 1, &settings, &issuer.good("alice", VAULT)).await;
    let members = fleet.documents().await.admission.members;
    members.into_iter().find(|m| m.identity == inner.vault()).expect("a member").region
}

/// A vault that serves nothing: it claims every shard, gives the documents with a changed byte, and answers no stream.
fn liar(region: String, readable: bool) -> Meddle {
    Arc::new(move |up, f| {
        match &mut f.body {
            Some(Body::Hello(hello)) => {
                hello.leaders =
                    (0..hello.shards).map(|shard| o::Leadership { shard, region: region.clone() }).collect();
            }
            Some(Body::Bundle(bundle)) => {
                let mut policy = bundle.policy.to_vec();
                // The last byte is part of a signature.
                let last = policy.len() - 1;
                policy[last] ^= 1;
                bundle.policy = policy.into();
                if !readable {
                    bundle.admission = b"junk"[..].into();
                }
            }
            Some(Body::Data(_) | Body::NotLeader(_) | Body::Reset(_) | Body::Close(_)) => return up,
            _ => {}
        }
        true
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn s49_one_regions_junk_bundle_and_claimed_leadership_end_nothing() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let alice = fleet.registered("alice");
    let first = fleet.regions().into_iter().min().expect("a region");
    // ChatD must ask a lying vault first, so the first region by name must not lead.
    if leader(&fleet).await == first {
        fleet.region("stop", &first);
        fleet.region("start", &first);
        fleet.wait_ready(3);
    }
    assert_ne!(leader(&fleet).await, first, "its shard moved away");
    for readable in [true, false] {
        let honest: Meddle = Arc::new(|_, _| true);
        let proxies = RelayProxies::before_each(&fleet, |region| {
            if region == first { liar(first.clone(), readable) } else { honest.clone() }
        })
        .await;
        let chatd = Chatd::start(&fleet, &format!("lied-to-{readable}"), |t| proxies.redirect(t));
        let alice = chatd.serves(fleet.account("alice"));
        for device in ["one", "two", "three"] {
            alice.recover(device, RIGHT).expect(0);
        }
        let seen = proxies.seen();
        let asked = |f: &o::Frame| matches!(f.body, Some(Body::GetBundle(_)));
        assert!(seen.iter().any(|s| s.region == first && s.up && asked(&s.frame)), "ChatD asked the liar");
    }
    assert_eq!(alice.tries_left(), 10);
}

/// The health port is open to every pod of the cluster. While no vault gives documents, no scrape may make ChatD ask one.
#[tokio::test(flavor = "multi_thread")]
async fn s58_scraping_makes_chatd_ask_no_vault() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let mute: Meddle = Arc::new(|_, f| !matches!(f.body, Some(Body::Bundle(_))));
    let proxies = RelayProxies::before(&fleet, mute).await;
    let chatd = Chatd::start(&fleet, "scraped", |t| proxies.redirect(t));
    let asked = || {
        let seen = proxies.seen();
        seen.iter().filter(|s| s.up && matches!(s.frame.body, Some(Body::GetBundle(_)))).count()
    };
    let before = asked();
    let scrapes = 60;
    for _ in 0..scrapes {
        assert_eq!(chatd.metric("bkv_chatd_connections"), 0);
    }
    // ChatD asks all three vaults by itself every few seconds.
    assert!(asked() - before < scrapes, "{} questions", asked() - before);
}
