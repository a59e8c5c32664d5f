//! Tokens at ChatD and at the vault behind it: which tokens each accepts, and what a refusal reveals.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bkv_mtls::issue::WebCa;
use bkv_stack_tests::chatd::{Chatd, section};
use bkv_stack_tests::issuer::{CHATD, ISSUER, VAULT, now};
use bkv_stack_tests::raw::{Answer, Inner};
use bkv_stack_tests::{Account, Fleet, RIGHT, wait};
use bkv_tokens::dev::{DevClaims, DevIssuer};
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Outcome;
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};
use serde_json::json;

/// The account with other tokens than the fleet issued.
fn show(account: &Account<'_>, chatd: &str, vault: &str) {
    fs::write(&account.token, json!({ "chatd": chatd, "vault": vault }).to_string()).unwrap();
}

/// S17: ChatD and the vault each refuse every bad token, `bkv` reports which of the two refused, and no try is spent.
/// S19: the vault's refusal has the same content and size for every fault, also for an account that was never registered or was destroyed.
#[tokio::test(flavor = "multi_thread")]
async fn s17_s19_bad_tokens_are_refused_everywhere_and_all_refusals_are_alike() {
    let fleet = Fleet::up();
    let issuer = fleet.issuer();
    let alice = fleet.registered("alice");
    let gone = fleet.registered("gone");
    for _ in 0..10 {
        gone.recover("thief", "wrong password entirely");
    }
    gone.recover("owner", RIGHT).expect(12);
    let (endpoint, settings) = (fleet.endpoint(), fleet.identities().await);

    // At ChatD.
    for (what, token) in issuer.bad("alice", CHATD) {
        assert_eq!(endpoint.get("/v1/account", Some(&token)).await.0, 401, "{what}");
        assert_eq!(endpoint.relay(&token).await.err(), Some(401), "{what}");
        show(&alice, &token, &issuer.good("alice", VAULT));
        let answer = alice.run(&["recover", "--yes", "--timeout", "5"], "device", Some(RIGHT)).expect(77);
        assert_eq!(answer.json["by"], "chatd", "{what}: {}", answer.json);
    }
    assert_eq!(endpoint.get("/v1/account", None).await.0, 401);

    // At the vault, inside the channel.
    let mut sizes = BTreeSet::new();
    let mut contents = BTreeSet::new();
    for subject in ["alice", "never-registered", "gone"] {
        let mut bad = issuer.bad(subject, VAULT);
        // Another person's valid token in this account's channel.
        bad.push(("bob's", issuer.good("bob", VAULT)));
        bad.push(("empty", String::new()));
        bad.push(("of 20 KiB", "x".repeat(20 << 10)));
        let mut raw = endpoint.relay(&issuer.good(subject, CHATD)).await.unwrap();
        for (n, (what, token)) in (1u64..).zip(bad) {
            let mut inner = Inner::open(&mut raw, n, &settings).await.unwrap();
            let Answer::Reply(reply, size) = inner.enter(&mut raw, &token).await else {
                panic!("{subject}, {what}: no reply");
            };
            let Some(Outcome::Refused(refused)) = &reply.result else {
                panic!("{subject}, {what}: {reply:?}")
            };
            assert_eq!(refused.code(), Code::Token, "{subject}, {what}");
            sizes.insert(size);
            contents.insert(format!("{reply:?}"));
            // The channel has ended: the vault answers nothing more in it.
            let again = inner.enter(&mut raw, &issuer.good(subject, VAULT)).await;
            assert!(matches!(again, Answer::End(_)), "{subject}, {what}: {again:?}");
        }
        // Without any Open: the same.
        let mut inner = Inner::open(&mut raw, 1000, &settings).await.unwrap();
        let begin = p::Begin {
            attempt: vec![1; 16].into(),
            blinded: vec![2; 32].into(),
            cancel: vec![3; 32].into(),
            may_be_last: false,
            proof: None,
        };
        let Answer::Reply(reply, size) = inner.ask(&mut raw, Operation::Begin(begin)).await else { panic!() };
        sizes.insert(size);
        contents.insert(format!("{reply:?}"));
    }
    assert_eq!(sizes.len(), 1, "{sizes:?}");
    assert_eq!(contents.len(), 1, "{contents:?}");

    for (what, token) in issuer.bad("alice", VAULT).into_iter().chain([("bob's", issuer.good("bob", VAULT))])
    {
        show(&alice, &issuer.good("alice", CHATD), &token);
        let answer = alice.run(&["recover", "--yes", "--timeout", "5"], "device", Some(RIGHT)).expect(77);
        assert_eq!(answer.json["by"], "vault", "{what}: {}", answer.json);
    }
    show(&alice, &issuer.good("alice", CHATD), &issuer.good("alice", VAULT));
    assert_eq!(alice.tries_left(), 10);
    alice.recover("device", RIGHT).expect(0);
}

/// S17: the issuer's keys come from a file or an https address, are followed when they rotate, and stay when they can't be fetched. Plain http
/// is refused at start.
#[tokio::test(flavor = "multi_thread")]
async fn s17_rotated_keys_are_picked_up_and_the_last_good_ones_stay() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let old = fleet.issuer();
    let new = DevIssuer::generate(ISSUER).unwrap();
    let signed = |issuer: &DevIssuer| {
        issuer.sign(&DevClaims {
            subject: "alice",
            audience: CHATD,
            now: now(),
            lifetime: 3600,
            enrolment: None,
        })
    };

    // A small web server of the issuer. `ca_file` makes ChatD trust the authority of its certificate; the environment does not.
    let ca = WebCa::generate().unwrap();
    let ca_file = fleet.path("issuer-ca.crt");
    fs::write(&ca_file, ca.certificate_pem()).unwrap();
    let jwks = std::sync::Arc::new(std::sync::Mutex::new(Some(old.0.jwks())));
    let (port, fetches) = serve_jwks(&ca, jwks.clone()).await;
    let url = format!("https://127.0.0.1:{port}/jwks.json");
    let chatd = Chatd::start_in(&fleet, "by-url", &[], |t| {
        let tokens = section(t, "tokens");
        tokens.insert("keys".into(), toml::Table::from_iter([("url".into(), url.into())]).into());
        tokens.insert("ca_file".into(), ca_file.display().to_string().into());
    });
    let endpoint = chatd.endpoint();
    let status = async |token: &str| endpoint.get("/v1/account", Some(token)).await.0;
    assert_eq!(status(&signed(&old.0)).await, 200, "{}", chatd.log());
    assert_eq!(status(&signed(&new)).await, 401);

    // The issuer is unreachable or answers without valid keys: ChatD keeps the last keys.
    for answer in [None, Some("{".to_owned()), Some("{\"keys\":[]}".to_owned())] {
        *jwks.lock().unwrap() = answer;
        let before = fetches.load(Ordering::Relaxed);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(40);
        // A token under an unknown key makes ChatD fetch the keys, at most every ten seconds.
        while fetches.load(Ordering::Relaxed) == before {
            assert_eq!(status(&signed(&new)).await, 401);
            assert!(tokio::time::Instant::now() < deadline, "no fetch: {}", chatd.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(status(&signed(&old.0)).await, 200);
    }
    *jwks.lock().unwrap() = Some(new.jwks());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(40);
    while status(&signed(&new)).await != 200 {
        assert!(tokio::time::Instant::now() < deadline, "{}", chatd.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(status(&signed(&old.0)).await, 401, "a withdrawn key");
    assert!(chatd.metric("bkv_jwks_refreshed_timestamp_seconds") > 1_000_000_000);
    drop(chatd);

    let text = fs::read_to_string(fleet.dir().join("chatd/by-url.toml")).unwrap();
    fs::write(fleet.dir().join("chatd/plain.toml"), text.replace("https://127.0.0.1", "http://127.0.0.1"))
        .unwrap();
    let out = std::process::Command::new(bkv_stack_tests::bin_dir().join("bkv-chatd"))
        .arg("--config")
        .arg(fleet.dir().join("chatd/plain.toml"))
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(70));
    assert!(
        String::from_utf8_lossy(&out.stderr).contains("https"),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );

    // By file, on the fleet's own ChatD: the next unknown key makes it look again.
    fs::write(fleet.dir().join("issuer/jwks.json"), new.jwks()).unwrap();
    let endpoint = fleet.endpoint();
    let token = signed(&new);
    let mut found = false;
    wait("the new file", Duration::from_secs(40), || {
        found = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current()
                .block_on(async { endpoint.get("/v1/account", Some(&token)).await.0 == 200 })
        });
        found
    });
}

/// Serves the JWKS. Returns the port, and the number of connections so far.
async fn serve_jwks(
    ca: &WebCa,
    jwks: std::sync::Arc<std::sync::Mutex<Option<String>>>,
) -> (u16, std::sync::Arc<AtomicUsize>) {
    use rustls::pki_types::pem::PemObject as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let web = ca.issue(&["127.0.0.1"], Duration::from_hours(1)).unwrap();
    let chain = rustls::pki_types::CertificateDer::pem_slice_iter(web.certificate.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(web.key.as_bytes()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let fetches = std::sync::Arc::<AtomicUsize>::default();
    let count = fetches.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let Some(body) = jwks.lock().unwrap().clone() else { continue }; // away: the connection breaks off
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(stream).await else { return };
                let _ = tls.read_buf(&mut Vec::with_capacity(4096)).await;
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = tls.write_all((head + &body).as_bytes()).await;
                let _ = tls.shutdown().await;
            });
        }
    });
    (port, fetches)
}
