//! Which clients each port of a vault accepts, and the replacement of certificates without a failed request.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bkv_mtls::issue::{RoleCa, WebCa, write_private};
use bkv_mtls::{ClientRole, Files, Identity, Role, RoleName};
use bkv_net::frames;
use bkv_stack_tests::chatd::metric;
use bkv_stack_tests::port_probe::{Shows, first_frame, probe_tcp, probe_tls, tls12_hello};
use bkv_stack_tests::{Fleet, RIGHT, wait};
use bkv_wire::proto::outer::frame::Body;
use bkv_wire::proto::peer;
use bytes::BytesMut;
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const STATUS: &[u8] = b"GET /v1/status HTTP/1.1\r\nHost: vault\r\nConnection: close\r\n\r\n";

fn folder(fleet: &Fleet, name: &str) -> PathBuf {
    fleet.dir().join(name)
}

/// S34: the relay port accepts only ChatD, and the admin port only administrators. Both refuse clients without a certificate, with one of another authority,
/// in the clear or over TLS 1.2.
#[tokio::test(flavor = "multi_thread")]
async fn s34_every_port_accepts_its_role_only() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let region = "eu-west";
    // The same roles, from an attacker's own authority.
    let ca = RoleCa::generate().unwrap();
    for (name, role) in [("foreign-chatd", Role::Chatd), ("foreign-admin", Role::Admin)] {
        let name_in = RoleName::new(role, "dev").unwrap();
        ca.write_role(&fleet.path(name), &name_in, Duration::from_hours(1)).unwrap();
    }
    let (chatd, admin) = (folder(&fleet, "chatd"), folder(&fleet, "admin"));
    let (own, other) = (folder(&fleet, "regions/eu-west/tls"), folder(&fleet, "regions/us-east/tls"));
    let (foreign_chatd, foreign_admin) = (fleet.path("foreign-chatd"), fleet.path("foreign-admin"));
    let folders = [&chatd, &admin, &own, &other, &foreign_chatd, &foreign_admin];

    for (port, words, good) in [("relay", &b""[..], &chatd), ("admin", STATUS, &admin)] {
        let at = fleet.port(region, port);
        for folder in folders {
            let answer = probe_tls(at, &Shows::Folder(folder), None, false, words).await;
            let let_in = match port {
                "relay" => first_frame(&answer).is_some_and(|f| matches!(f.body, Some(Body::Hello(_)))),
                _ => answer.starts_with(b"HTTP/1.1 200"),
            };
            assert_eq!(let_in, folder == good, "{port}: {}", folder.display());
            assert!(let_in || answer.is_empty(), "{port}: {} got {answer:?}", folder.display());
        }
        for shows in [Shows::Nothing, Shows::OwnRawKey] {
            assert!(probe_tls(at, &shows, None, false, words).await.is_empty(), "{port}: no role at all");
        }
    }

    // ChatD's public port too: nothing below TLS 1.3 anywhere.
    let public = u16::try_from(fleet.plan()["chatd"].as_u64().unwrap()).unwrap();
    for at in ["peer", "relay", "admin"].map(|p| fleet.port(region, p)).into_iter().chain([public]) {
        // An alert, fatal, `protocol_version`: the hello was understood, and its version refused.
        let answer = probe_tcp(at, &tls12_hello()).await.expect("a closed connection");
        assert_eq!(answer.get(0..1), Some(&[21u8][..]), "{at}: {answer:?}");
        assert_eq!(answer.get(5..7), Some(&[2u8, 70][..]), "{at}: {answer:?}");
        let answer = probe_tcp(at, STATUS).await.expect("a closed connection");
        assert!(!answer.starts_with(b"HTTP") && answer.len() < 16, "{at}: {answer:?}");
    }
}

/// S34: the authority that clients trust for ChatD's public certificate certifies no role, and the role authority certifies nothing that clients trust. So an
/// attacker who has the web authority's key opens no port of a vault.
#[tokio::test(flavor = "multi_thread")]
async fn s34_the_web_authority_certifies_no_role_and_the_role_authority_no_website() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let (chatd, admin, vault) =
        (folder(&fleet, "chatd"), folder(&fleet, "admin"), folder(&fleet, "regions/eu-west/tls"));
    let profile: toml::Table =
        fs::read_to_string(fleet.dir().join("fleet.toml")).unwrap().parse().expect("TOML");
    let web_ca = fleet.dir().join(profile["chatd_ca"].as_str().unwrap());
    assert!(certifies(&web_ca, &chatd.join("web.crt")));
    for role in [&chatd, &admin, &vault] {
        let (ca, leaf) = (role.join("ca.crt"), role.join("tls.crt"));
        assert!(certifies(&ca, &leaf), "{}", role.display());
        assert!(
            !certifies(&ca, &chatd.join("web.crt")),
            "{}: the web certificate has a role",
            role.display()
        );
        assert!(!certifies(&web_ca, &leaf), "{}: clients trust the role certificate", role.display());
    }

    // On the running programs: the web certificate at the ports for roles, and a client that trusts the role authority at ChatD's public port.
    let web = fleet.path("web-as-role");
    fs::create_dir(&web).unwrap();
    fs::copy(chatd.join("web.crt"), web.join("tls.crt")).unwrap();
    fs::copy(chatd.join("web.key"), web.join("tls.key")).unwrap();
    for (port, words) in [("relay", &b""[..]), ("admin", STATUS)] {
        let answer = probe_tls(fleet.port("eu-west", port), &Shows::Folder(&web), None, false, words).await;
        assert!(answer.is_empty(), "{port}: {answer:?}");
    }
    let public = u16::try_from(fleet.plan()["chatd"].as_u64().unwrap()).unwrap();
    assert!(trusts(&web_ca, public).await);
    assert!(!trusts(&chatd.join("ca.crt"), public).await);
}

fn roots(ca: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).expect("the CA's file") {
        roots.add(certificate.expect("PEM")).expect("a CA");
    }
    roots
}

/// Whether the authority has signed the server certificate, whatever its names are.
fn certifies(ca: &Path, leaf: &Path) -> bool {
    let leaf = CertificateDer::from_pem_file(leaf).expect("a certificate");
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let parsed = ParsedCertificate::try_from(&leaf).expect("a certificate");
    let now = UnixTime::now();
    verify_server_cert_signed_by_trust_anchor(&parsed, &roots(ca), &[], now, algorithms.all).is_ok()
}

/// Whether a client that trusts this authority accepts the server at this port.
async fn trusts(ca: &Path, port: u16) -> bool {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots(ca))
        .with_no_client_auth();
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from("localhost").unwrap(), tcp).await.is_ok()
}

/// S26: the peer port answers identities on the admission list only: no role certificate, not even a vault's, and no other raw public key.
#[tokio::test(flavor = "multi_thread")]
async fn s26_the_peer_port_answers_admitted_identities_only() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let alice = fleet.registered("alice");
    let mut words = BytesMut::new();
    let clock = peer::Message { id: 1, body: Some(peer::message::Body::Clock(peer::Clock::default())) };
    frames::put(&mut words, &clock).unwrap();
    for region in fleet.regions() {
        let at = fleet.port(&region, "peer");
        let folders =
            ["chatd", "admin", "regions/eu-west/tls", "regions/us-east/tls"].map(|f| folder(&fleet, f));
        for alpn in [None, Some(&b"bkv-peer/4"[..])] {
            for folder in &folders {
                for raw in [false, true] {
                    let answer = probe_tls(at, &Shows::Folder(folder), alpn, raw, &words).await;
                    assert!(answer.is_empty(), "{region}: {} got {answer:?}", folder.display());
                }
            }
            for shows in [Shows::Nothing, Shows::OwnRawKey] {
                assert!(probe_tls(at, &shows, alpn, true, &words).await.is_empty(), "{region}: not admitted");
            }
        }
        let answer = probe_tcp(at, &words).await.expect("a closed connection");
        assert!(answer.len() < 16, "{region}: {answer:?}");
    }
    // The links between the vaults were not disturbed.
    alice.recover("device", RIGHT).expect(0);
    assert_eq!(alice.tries_left(), 10);
}

/// S34: authority and all role certificates are replaced on disk in three steps while a client recovers again and again. No request fails, and in the end
/// every port refuses the old certificates.
#[tokio::test(flavor = "multi_thread")]
async fn s34_certificates_rotate_with_no_failed_request() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let alice = fleet.registered("alice");
    // An attacker who stole ChatD's key has a link to a vault.
    let mut stolen = link_of_chatd(&fleet).await;
    let (stop, done) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|s| {
        let load = s.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                alice.recover("device", RIGHT).expect(0);
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        let rotated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rotate(&fleet)));
        let enough = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait("six recoveries", Duration::from_mins(1), || {
                load.is_finished() || done.load(Ordering::Relaxed) > 5
            });
        }));
        stop.store(true, Ordering::Relaxed);
        load.join().unwrap();
        rotated.unwrap();
        enough.unwrap();
    });
    assert_eq!(alice.tries_left(), 10);
    let ended = tokio::time::timeout(Duration::from_mins(1), stolen.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok(), "the vault keeps a link that the withdrawn authority opened");
    // New connections work, old certificates don't.
    let at = fleet.port("eu-west", "relay");
    assert!(!probe_tls(at, &Shows::Folder(&folder(&fleet, "chatd")), None, false, b"").await.is_empty());
    assert!(probe_tls(at, &Shows::Folder(&fleet.path("old-chatd")), None, false, b"").await.is_empty());
    for region in fleet.regions() {
        fleet.region("kill", &region);
        fleet.start(&region);
        alice.recover("device", RIGHT).expect(0);
    }
}

/// A link to a vault with ChatD's certificate.
async fn link_of_chatd(fleet: &Fleet) -> TlsStream<TcpStream> {
    let identity = Identity::load(Files::in_directory(&folder(fleet, "chatd"))).unwrap();
    let tls = ClientRole::new(identity, Role::Vault).named("eu-west").build().unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", fleet.port("eu-west", "relay"))).await.unwrap();
    let mut link =
        TlsConnector::from(tls).connect(ServerName::try_from("vault").unwrap(), tcp).await.unwrap();
    // The vault's Hello: it accepted the certificate.
    assert!(link.read(&mut [0; 4]).await.unwrap() > 0);
    link
}

fn rotate(fleet: &Fleet) {
    let regions = fleet.regions();
    let homes: Vec<(PathBuf, RoleName)> = regions
        .iter()
        .map(|r| (folder(fleet, "regions").join(r).join("tls"), RoleName::new(Role::Vault, r).unwrap()))
        .chain([
            (folder(fleet, "chatd"), RoleName::new(Role::Chatd, "dev").unwrap()),
            (folder(fleet, "admin"), RoleName::new(Role::Admin, "dev").unwrap()),
        ])
        .collect();
    let chatd = folder(fleet, "chatd");
    fs::create_dir(fleet.path("old-chatd")).unwrap();
    for file in ["tls.crt", "tls.key"] {
        fs::copy(chatd.join(file), fleet.path("old-chatd").join(file)).unwrap();
    }
    let health: Vec<u16> = regions
        .iter()
        .map(|r| fleet.port(r, "health"))
        .chain([u16::try_from(fleet.plan()["chatd_health"].as_u64().unwrap()).unwrap()])
        .collect();
    let used = |lines: usize| {
        let logs =
            regions.iter().map(|r| folder(fleet, "regions").join(r).join("log")).chain([chatd.join("log")]);
        wait("every process to use the new files", Duration::from_secs(30), || {
            logs.clone().all(|l| {
                let log = fs::read_to_string(l).unwrap();
                log.lines().filter(|l| l.contains("changed and are in use") && !l.contains("web.crt")).count()
                    >= lines
            })
        });
    };
    // 1: trust both authorities.
    let (new, new_web) = (RoleCa::generate().unwrap(), WebCa::generate().unwrap());
    let web_ca = chatd.join("web-ca.crt");
    let old_web = fs::read_to_string(&web_ca).unwrap();
    write_private(&web_ca, (old_web + new_web.certificate_pem()).as_bytes()).unwrap();
    for (home, _) in &homes {
        let old = fs::read_to_string(home.join("ca.crt")).unwrap();
        write_private(&home.join("ca.crt"), (old + new.certificate_pem()).as_bytes()).unwrap();
    }
    used(1);
    // 2: new certificates, key and certificate one after the other, as files are written.
    for (home, name) in &homes {
        let issued = new.issue(name, Duration::from_hours(24 * 90)).unwrap();
        write_private(&home.join("tls.crt"), issued.certificate.as_bytes()).unwrap();
        write_private(&home.join("tls.key"), issued.key.as_bytes()).unwrap();
    }
    let web = new_web.issue(&["127.0.0.1", "localhost"], Duration::from_hours(24 * 90)).unwrap();
    write_private(&chatd.join("web.crt"), web.certificate.as_bytes()).unwrap();
    write_private(&chatd.join("web.key"), web.key.as_bytes()).unwrap();
    let soon = i64::try_from(bkv_stack_tests::issuer::now()).unwrap() + 91 * 86400;
    wait("the new certificates in the metric that alerts look at", Duration::from_secs(30), || {
        let leaf = "bkv_certificate_not_after_timestamp_seconds{kind=\"leaf\"}";
        health.iter().all(|port| (1..soon).contains(&metric(*port, leaf)))
    });
    // 3: remove the old authorities.
    write_private(&web_ca, new_web.certificate_pem().as_bytes()).unwrap();
    for (home, _) in &homes {
        write_private(&home.join("ca.crt"), new.certificate_pem().as_bytes()).unwrap();
    }
    used(3);
    fleet.wait_ready(3);
}
