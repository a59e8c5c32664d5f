//! S58: a client without a valid token uses up nobody else's budget, and only trusted proxies choose the address under which a client is counted.

use std::time::{Duration, Instant};

use bkv_stack_tests::Fleet;
use bkv_stack_tests::chatd::{Chatd, section};
use bkv_stack_tests::issuer::CHATD;
use bkv_stack_tests::raw::Endpoint;
use toml::{Table, Value};

/// Few enough that a short flood empties a bucket, and slow enough that it stays empty.
const BURST: i64 = 60;

fn scarce(t: &mut Table) {
    section(t, "limits").insert("address_per_second".into(), 1.into());
    section(t, "limits").insert("address_burst".into(), BURST.into());
}

fn trusting(t: &mut Table, networks: &[&str], proxy_protocol: bool) {
    scarce(t);
    let networks: Vec<Value> = networks.iter().map(|n| Value::from(*n)).collect();
    section(t, "listen").insert("trusted_proxies".into(), networks.into());
    section(t, "listen").insert("proxy_protocol".into(), proxy_protocol.into());
}

/// Requests without a token until ChatD refuses them for their rate.
async fn emptied(endpoint: &Endpoint) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match endpoint.flood("/v1/account", 90).await {
            Some(statuses) if statuses.contains(&429) => return,
            // An empty bucket also refuses connections.
            None => return,
            Some(statuses) => assert!(Instant::now() < deadline, "{statuses:?}"),
        }
    }
}

/// Whether ChatD has anything left for this address: it answers 401 to a request without a token, and not 429.
async fn has_budget(endpoint: &Endpoint) -> bool {
    endpoint.flood("/v1/account", 1).await.is_some_and(|statuses| statuses == [401])
}

/// One connection without a token sends as fast as it can, at the address of ten people with open channels. Their channels go on.
#[tokio::test(flavor = "multi_thread")]
async fn s58_a_flood_without_a_token_takes_service_from_nobody() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let chatd = Chatd::start(&fleet, "flooded", scarce);
    let endpoint = chatd.endpoint();
    let mut people = Vec::new();
    for n in 0..10 {
        let token = fleet.issuer().good(&format!("person-{n}"), CHATD);
        people.push(endpoint.relay(&token).await.expect("a channel"));
    }
    // Documents cost the attacker's connection and no budget.
    let documents = endpoint.flood("/v1/fleet", 300).await.expect("a connection");
    assert!(documents.iter().all(|status| *status == 200) && documents.len() <= 100, "{documents:?}");
    emptied(&endpoint).await;
    for (n, person) in people.iter_mut().enumerate() {
        for _ in 0..20 {
            assert!(person.alive().await, "person {n}");
        }
    }
    assert_eq!(chatd.metric("bkv_chatd_relay_failures_total{reason=\"rate\"}"), -1);
}

/// From an untrusted address X-Forwarded-For changes nothing: the flood stays in one bucket, whatever it claims.
#[tokio::test(flavor = "multi_thread")]
async fn s58_a_forwarded_address_is_believed_from_a_trusted_proxy_alone() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let chatd = Chatd::start(&fleet, "direct", |t| trusting(t, &["192.0.2.0/24"], false));
    emptied(&chatd.endpoint().forwarded_for("203.0.113.1")).await;
    assert!(!has_budget(&chatd.endpoint().forwarded_for("203.0.113.2")).await, "a header chose the bucket");

    let chatd = Chatd::start(&fleet, "behind-a-proxy", |t| trusting(t, &["127.0.0.0/8"], false));
    emptied(&chatd.endpoint().forwarded_for("203.0.113.1")).await;
    assert!(has_budget(&chatd.endpoint().forwarded_for("203.0.113.2")).await, "another client of the proxy");
    // The fleet's documents have a budget of their own, also by the forwarded address: the proxy's connections are not counted.
    let greedy = chatd.endpoint().forwarded_for("203.0.113.3");
    let documents = greedy.flood("/v1/fleet", 90).await.expect("a connection");
    assert!(documents.contains(&200) && documents.contains(&429), "{documents:?}");
    let other = chatd.endpoint().forwarded_for("203.0.113.4");
    assert_eq!(other.flood("/v1/fleet", 1).await, Some(vec![200]), "another client of the proxy");
    assert!(has_budget(&greedy).await, "documents take nothing from what the address needs to connect");
    // The proxy appended the last address. The client invented the ones before.
    assert!(!has_budget(&chatd.endpoint().forwarded_for("203.0.113.2, 203.0.113.1")).await);
}

/// A PROXY header from a trusted address names the client. Nobody else may send one.
#[tokio::test(flavor = "multi_thread")]
async fn s58_a_proxy_header_is_believed_from_a_trusted_proxy_alone() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let chatd = Chatd::start(&fleet, "balanced", |t| trusting(t, &["127.0.0.0/8"], true));
    emptied(&chatd.endpoint().with_proxy_header([203, 0, 113, 1])).await;
    assert!(!has_budget(&chatd.endpoint().with_proxy_header([203, 0, 113, 1])).await);
    assert!(has_budget(&chatd.endpoint().with_proxy_header([203, 0, 113, 2])).await, "another client");
    assert!(!has_budget(&chatd.endpoint()).await, "a trusted proxy that sends no header");

    let chatd = Chatd::start(&fleet, "not-balanced", |t| trusting(t, &["192.0.2.0/24"], true));
    assert!(has_budget(&chatd.endpoint()).await, "a client that comes directly");
    assert!(!has_budget(&chatd.endpoint().with_proxy_header([203, 0, 113, 1])).await, "its header is no TLS");
}
