//! ChatD's limits for one client. A client that breaks the protocol loses its own connection, and no other client notices.

use std::time::Duration;

use bkv_stack_tests::chatd::{Chatd, section};
use bkv_stack_tests::issuer::{CHATD, VAULT, now};
use bkv_stack_tests::raw::{Answer, Endpoint, Inner, PATIENCE, Raw};
use bkv_stack_tests::{Fleet, RIGHT, wait};
use bkv_tokens::dev::DevClaims;
use bkv_wire::proto::inner::reply::Result as Outcome;
use bkv_wire::proto::outer::frame::Body;
use bkv_wire::proto::outer::reset::Reason;
use bkv_wire::proto::outer::{self as o};
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

fn limits(t: &mut toml::Table, values: &[(&str, i64)]) {
    for (name, value) in values {
        section(t, "limits").insert((*name).to_owned(), (*value).into());
    }
}

fn reset(f: Option<o::Frame>) -> Option<Reason> {
    match f?.body? {
        Body::Reset(r) => Some(r.reason()),
        _ => None,
    }
}

fn frame(stream: u64, body: Body) -> Vec<u8> {
    o::Frame { stream, body: Some(body) }.encode_to_vec()
}

/// Bad frames (too large, unknown, cut, out of place, not frames at all) end their own connection, and its open streams get the reason. Another client's
/// channel goes on.
#[tokio::test(flavor = "multi_thread")]
async fn s38_bad_frames_end_their_connection_and_nothing_else() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let issuer = fleet.issuer();
    let (endpoint, settings) = (fleet.endpoint(), fleet.identities().await);
    let mut neighbour = endpoint.relay(&issuer.good("bob", CHATD)).await.unwrap();
    let mut channel = Inner::open(&mut neighbour, 1, &settings).await.unwrap();

    let open = || frame(2, Body::Open(o::Open::default()));
    let bad: Vec<(&str, Vec<Message>)> = vec![
        ("larger than 64 KiB", vec![Message::Binary(frame(2, Body::Data(vec![0; 65 << 10].into())).into())]),
        ("no protobuf", vec![Message::Binary(vec![0xff; 40].into())]),
        (
            "cut",
            vec![
                Message::Binary(open()[..open().len() - 1].to_vec().into()),
                Message::Binary(vec![0x1a, 0x10, 1].into()),
            ],
        ),
        ("an unknown body", vec![Message::Binary(vec![0x08, 2, 0xfa, 0x06, 1, 0].into())]),
        ("without a body", vec![Message::Binary(vec![0x08, 2].into())]),
        ("empty", vec![Message::Binary(vec![].into())]),
        ("text", vec![Message::Text("hello".into())]),
        ("opened twice", vec![Message::Binary(open().into()), Message::Binary(open().into())]),
        (
            "the link opened as a stream",
            vec![Message::Binary(frame(0, Body::Open(o::Open::default())).into())],
        ),
        (
            "a vault's hello",
            vec![Message::Binary(
                frame(2, Body::Hello(o::Hello { region: "eu-west".into(), shards: 1, ..Default::default() }))
                    .into(),
            )],
        ),
        (
            "a subscription",
            vec![Message::Binary(frame(2, Body::Subscribe(o::Subscribe { shard: 0, after: 0 })).into())],
        ),
        ("a reset", vec![Message::Binary(frame(2, Body::Reset(o::Reset { reason: 1 })).into())]),
    ];
    for (what, messages) in bad {
        let mut raw = endpoint.relay(&issuer.good("alice", CHATD)).await.unwrap();
        assert!(raw.alive().await);
        let _inner = Inner::open(&mut raw, 1, &settings).await.unwrap();
        for m in messages {
            let _ = raw.message(m).await;
        }
        let last: Vec<o::Frame> = raw.rest().await;
        if what != "larger than 64 KiB" {
            assert!(
                last.iter().any(|f| f.stream == 1 && reset(Some(f.clone())) == Some(Reason::Protocol)),
                "{what}: {last:?}"
            );
        }
    }
    // Data and Close for an unknown stream are no offence: the client may send them before it reads that ChatD reset the stream.
    let mut raw = endpoint.relay(&issuer.good("alice", CHATD)).await.unwrap();
    raw.send(9, Body::Data(vec![1, 2, 3].into())).await;
    raw.send(9, Body::Close(o::Close {})).await;
    assert!(raw.alive().await);
    // Bytes that are not TLS end that channel. The connection and its other streams go on.
    raw.send(5, Body::Open(o::Open::default())).await;
    raw.send(5, Body::Data(vec![0x17; 500].into())).await;
    loop {
        let f = raw.next().await.expect("the connection stands");
        if f.stream == 5 && matches!(f.body, Some(Body::Close(_) | Body::Reset(_))) {
            break;
        }
    }
    assert!(raw.alive().await);

    let mut answer = channel.enter(&mut neighbour, &issuer.good("bob", VAULT)).await;
    if answer.moved() {
        // An election ended this channel, not the other client's frames. The connection must still serve.
        let mut next = Inner::open(&mut neighbour, 2, &settings).await.unwrap();
        answer = next.enter(&mut neighbour, &issuer.good("bob", VAULT)).await;
    }
    assert!(
        matches!(&answer, Answer::Reply(r, _) if matches!(r.result, Some(Outcome::Opened(_)))),
        "{answer:?}"
    );
}

/// Streams, connections of an account and of an address, and rates have limits. Room comes back when a stream or connection ends.
#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_and_come_back() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let issuer = fleet.issuer();
    let token = |who: &str| issuer.good(who, CHATD);
    let chatd = Chatd::start(&fleet, "tight", |t| {
        limits(
            t,
            &[
                ("streams", 2),
                ("connections_per_account", 2),
                ("connections_per_address", 4),
                ("frames_per_second", 20),
                ("frames_burst", 40),
            ],
        );
    });
    let endpoint = chatd.endpoint();
    let mut first = endpoint.relay(&token("alice")).await.unwrap();
    for n in [1, 2, 3] {
        first.send(n, Body::Open(o::Open::default())).await;
    }
    assert_eq!(reset(first.next().await), Some(Reason::Overloaded), "the third stream");
    first.send(1, Body::Close(o::Close {})).await;
    first.send(4, Body::Open(o::Open::default())).await;
    assert!(first.alive().await, "a closed stream makes room");

    let second = endpoint.relay(&token("alice")).await.unwrap();
    assert_eq!(endpoint.relay(&token("alice")).await.err(), Some(429), "an account's third connection");
    // ChatD may still count the refused connection for a moment.
    let bob = until_let_in(&endpoint, &token("bob")).await;
    let carol = until_let_in(&endpoint, &token("carol")).await;
    // WebSockets count like other connections.
    assert_eq!(endpoint.relay(&token("dave")).await.err(), Some(0), "the address's fifth connection");
    drop((second, bob));
    let again = until_let_in(&endpoint, &token("alice")).await;
    drop((again, carol));

    // A client above its rate gets the reason and is disconnected.
    let mut fast = until_let_in(&endpoint, &token("erin")).await;
    fast.send(1, Body::Open(o::Open::default())).await;
    pings(&mut fast, 60).await;
    let rest = fast.rest().await;
    assert!(rest.iter().any(|f| reset(Some(f.clone())) == Some(Reason::Overloaded)), "{rest:?}");
    wait("the failure to be counted", Duration::from_secs(10), || {
        chatd.metric("bkv_chatd_relay_failures_total{reason=\"rate\"}") == 1
    });
    assert!(first.alive().await, "another account has its own rate");
    drop(first);
    wait("all to be counted out", Duration::from_secs(10), || chatd.metric("bkv_chatd_connections") == 0);

    let chatd = Chatd::start(&fleet, "small", |t| limits(t, &[("connections", 2)]));
    let endpoint = chatd.endpoint();
    let two = (endpoint.relay(&token("alice")).await.unwrap(), endpoint.relay(&token("bob")).await.unwrap());
    assert_eq!(endpoint.relay(&token("carol")).await.err(), Some(0), "connections in all");
    drop(two);
    until_let_in(&endpoint, &token("carol")).await;

    let chatd = Chatd::start(&fleet, "idle", |t| limits(t, &[("idle_seconds", 2)]));
    let mut silent = chatd.endpoint().relay(&token("alice")).await.unwrap();
    silent.send(1, Body::Open(o::Open::default())).await;
    assert_eq!(reset(silent.next().await), Some(Reason::Idle), "two seconds without a frame");
}

/// The token is verified when the WebSocket begins. Without an end at `exp` a thief of one token could keep its connection for ever.
#[tokio::test(flavor = "multi_thread")]
async fn s17_a_websocket_ends_with_its_token() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let (endpoint, issuer) = (fleet.endpoint(), fleet.issuer());
    let ends = now() + 4;
    let claims = DevClaims { subject: "alice", audience: CHATD, now: now(), lifetime: 4, enrolment: None };
    let mut raw = endpoint.relay(&issuer.0.sign(&claims)).await.unwrap();
    let mut lasting = endpoint.relay(&issuer.good("bob", CHATD)).await.unwrap();
    raw.send(1, Body::Open(o::Open::default())).await;
    assert!(raw.alive().await);
    assert_eq!(reset(raw.next().await), Some(Reason::Expired));
    let close = timeout(PATIENCE, raw.socket.next()).await.unwrap();
    let Some(Ok(Message::Close(Some(why)))) = close else { panic!("{close:?}") };
    assert_eq!(u16::from(why.code), 4401);
    assert!(why.reason.contains("fresh"), "{}", why.reason);
    assert!(now() >= ends);
    assert!(lasting.alive().await, "another token has not ended");
    assert!(endpoint.relay(&issuer.good("alice", CHATD)).await.unwrap().alive().await, "a fresh token");
}

/// Sends this many pings at once: frames that trickle in on a slow machine would stay below the limit.
async fn pings(raw: &mut Raw, count: u64) {
    for id in 0..count {
        let _ = raw.socket.feed(Message::Binary(frame(0, Body::Ping(o::Ping { id })).into())).await;
    }
    let _ = raw.socket.flush().await;
}

async fn until_let_in(endpoint: &Endpoint, token: &str) -> Raw {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        match endpoint.relay(token).await {
            Ok(raw) => return raw,
            Err(code) => assert!(tokio::time::Instant::now() < deadline, "still {code}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// ChatD drops a client that sends and never reads. Another client recovers meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_dropped_while_others_go_on() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let alice = fleet.registered("alice");
    let chatd = Chatd::start(&fleet, "slow", |t| {
        limits(
            t,
            &[
                ("frames_per_second", 4_000_000),
                ("frames_burst", 4_000_000),
                ("address_per_second", 4_000_000),
                ("address_burst", 4_000_000),
            ],
        );
    });
    let mut deaf =
        chatd.endpoint().relay_with(&fleet.issuer().good("mallory", CHATD), Some(4096)).await.unwrap();
    let flood = tokio::spawn(async move {
        let ping = frame(0, Body::Ping(o::Ping { id: u64::MAX }));
        for n in 0u64.. {
            let sent = deaf.socket.feed(Message::Binary(ping.clone().into())).await;
            if sent.is_err() || (n % 64 == 0 && deaf.socket.flush().await.is_err()) {
                return;
            }
        }
    });
    let alice = chatd.serves(alice);
    let recovered = tokio::task::block_in_place(|| alice.recover("device", RIGHT));
    recovered.expect(0);
    assert!(timeout(Duration::from_mins(1), flood).await.is_ok(), "ChatD never dropped the client");
    assert_eq!(chatd.metric("bkv_chatd_relay_failures_total{reason=\"slow_client\"}"), 1);
    wait("it to be counted out", Duration::from_secs(10), || chatd.metric("bkv_chatd_connections") == 0);
}

/// SIGTERM: open streams get the reason, the process ends in order, and a `bkv` that runs meanwhile finds the next ChatD.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_resets_every_stream_and_costs_no_try() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let alice = fleet.registered("alice");
    let mut chatd = Chatd::start(&fleet, "drained", |_| {});
    let alice = chatd.serves(alice);
    let settings = fleet.identities().await;
    for _ in 0..3 {
        let mut raw = chatd.endpoint().relay(&fleet.issuer().good("bob", CHATD)).await.unwrap();
        for n in [1, 2] {
            Inner::open(&mut raw, n, &settings).await.unwrap();
        }
        std::thread::scope(|s| {
            let busy = s.spawn(|| (0..4).for_each(|_| drop(alice.recover("device", RIGHT).expect(0))));
            chatd.terminate();
            assert_eq!(chatd.ended(), 0, "{}", chatd.log());
            chatd.again();
            busy.join().unwrap();
        });
        let mut reset_streams: Vec<u64> = raw
            .rest()
            .await
            .into_iter()
            .filter(|f| reset(Some(f.clone())) == Some(Reason::Draining))
            .map(|f| f.stream)
            .collect();
        reset_streams.sort_unstable();
        assert_eq!(reset_streams, [1, 2]);
    }
    assert_eq!(alice.tries_left(), 10);
}

/// The leader of the shard goes while channels to it are open: stopped in order, killed, hung. The streams are reset, what ran is repeated
/// elsewhere, and no try is spent.
#[tokio::test(flavor = "multi_thread")]
async fn s11_a_leader_that_goes_costs_no_try() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let alice = fleet.registered("alice");
    let issuer = fleet.issuer();
    let settings = fleet.identities().await;
    let members = fleet.documents().await.admission.members;
    for (verb, back) in [("stop", "start"), ("kill", "start"), ("pause", "resume")] {
        let mut raw = fleet.endpoint().relay(&issuer.good("alice", CHATD)).await.unwrap();
        let mut inner = Inner::open(&mut raw, 1, &settings).await.unwrap();
        assert!(matches!(inner.enter(&mut raw, &issuer.good("alice", VAULT)).await, Answer::Reply(..)));
        // The region that answers leads her shard. Its identity is asked of the channel: a status read later may already name another leader.
        let leader = members.iter().find(|m| m.identity == inner.vault()).expect("a member").region.as_str();
        std::thread::scope(|s| {
            let busy = s.spawn(|| (0..6).for_each(|_| drop(alice.recover("device", RIGHT).expect(0))));
            fleet.region(verb, leader);
            busy.join().unwrap();
        });
        let reason = loop {
            let f = raw.next().await.expect("the connection to ChatD stands");
            if let Some(reason) = reset(Some(f)) {
                break reason;
            }
        };
        assert!(matches!(reason, Reason::LeaderMoved | Reason::VaultLost), "{verb}: {reason:?}");
        assert!(raw.alive().await);
        assert_eq!(alice.tries_left(), 10, "{verb}");
        fleet.region(back, leader);
        fleet.wait_ready(3);
    }
}
