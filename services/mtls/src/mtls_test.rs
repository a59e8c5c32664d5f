use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use bkv_fixtures::{eventually_async, mount};
use proptest::prelude::*;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use crate::issue::{RoleCa, WebCa, write_private};
use crate::{ClientRole, Error, Files, Identity, Role, RoleName, ServerRole};

const DAY: Duration = Duration::from_hours(24);

fn identity(ca: &RoleCa, role: Role, name: &str) -> (TempDir, Arc<Identity>) {
    let dir = tempfile::tempdir().unwrap();
    let files = ca.write_role(dir.path(), &RoleName::new(role, name).unwrap(), DAY).unwrap();
    let identity = Identity::load(files).unwrap();
    (dir, identity)
}

/// Sends one byte to the server and back. Fails if either side refuses.
async fn talk(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> Result<(), std::io::Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serve = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await?;
        let mut tls = TlsAcceptor::from(server).accept(tcp).await?;
        let byte = tls.read_u8().await?;
        tls.write_u8(byte).await?;
        tls.shutdown().await
    });
    let ask = async {
        let tcp = TcpStream::connect(address).await?;
        let mut tls = TlsConnector::from(client)
            .connect(ServerName::try_from("anything.invalid").unwrap(), tcp)
            .await?;
        tls.write_u8(7).await?;
        tls.read_u8().await.map(|b| assert_eq!(b, 7))
    };
    let asked = tokio::time::timeout(Duration::from_secs(20), ask).await.unwrap();
    let served = serve.await.unwrap();
    asked.and(served)
}

fn server(i: &Arc<Identity>) -> Arc<ServerConfig> {
    ServerRole::new(Arc::clone(i)).admit(Role::Chatd).build().unwrap()
}
fn client(i: &Arc<Identity>) -> Arc<ClientConfig> {
    ClientRole::new(Arc::clone(i), Role::Vault).build().unwrap()
}

#[tokio::test]
async fn s34_right_roles_talk_and_others_are_refused() {
    let ca = RoleCa::generate().unwrap();
    let (_a, vault) = identity(&ca, Role::Vault, "eu-west-0");
    let (_b, chatd) = identity(&ca, Role::Chatd, "a");
    let (_c, metrics) = identity(&ca, Role::Metrics, "a");
    talk(server(&vault), client(&chatd)).await.unwrap();
    talk(server(&vault), client(&metrics)).await.expect_err("another client role");
    talk(server(&metrics), client(&chatd)).await.expect_err("another server role");
    let named = |n: &str| ClientRole::new(Arc::clone(&chatd), Role::Vault).named(n).build().unwrap();
    talk(server(&vault), named("eu-west-0")).await.unwrap();
    talk(server(&vault), named("eu-west-1")).await.expect_err("another name");
}

#[tokio::test]
async fn s34_another_ca_is_refused_on_both_sides() {
    let (ca, other) = (RoleCa::generate().unwrap(), RoleCa::generate().unwrap());
    let (_a, vault) = identity(&ca, Role::Vault, "v");
    let (_b, chatd) = identity(&ca, Role::Chatd, "c");
    let (_c, false_vault) = identity(&other, Role::Vault, "v");
    let (_d, false_chatd) = identity(&other, Role::Chatd, "c");
    talk(server(&vault), client(&false_chatd)).await.expect_err("client of another CA");
    talk(server(&false_vault), client(&chatd)).await.expect_err("server of another CA");
}

/// An attacker who has the web CA's key issues roles with it, and trusts the real role CA like everybody else.
#[tokio::test]
async fn s34_a_role_that_the_web_ca_signed_opens_nothing() {
    let (ca, stolen) = (RoleCa::generate().unwrap(), WebCa::generate().unwrap().misused());
    let forged = |role, name: &str| {
        let dir = tempfile::tempdir().unwrap();
        let files = stolen.write_role(dir.path(), &RoleName::new(role, name).unwrap(), DAY).unwrap();
        write_private(&files.ca, ca.certificate_pem().as_bytes()).unwrap();
        (Identity::load(files).unwrap(), dir)
    };
    let (_a, vault) = identity(&ca, Role::Vault, "v");
    let (_b, chatd) = identity(&ca, Role::Chatd, "c");
    let ((false_vault, _c), (false_chatd, _d)) = (forged(Role::Vault, "v"), forged(Role::Chatd, "c"));
    talk(server(&vault), client(&chatd)).await.unwrap();
    talk(server(&vault), client(&false_chatd)).await.expect_err("a client of the web CA");
    talk(server(&false_vault), client(&chatd)).await.expect_err("a server of the web CA");
}

#[tokio::test]
async fn s34_no_certificate_and_tls12_are_refused() {
    let ca = RoleCa::generate().unwrap();
    let (_a, vault) = identity(&ca, Role::Vault, "v");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = Arc::clone(&vault.current().roots);
    let bare = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    talk(server(&vault), Arc::new(bare)).await.expect_err("no client certificate");

    // rustls is built without TLS 1.2 here, so the test builds a ClientHello for 1.2 itself.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = server(&vault);
    let serve = tokio::spawn(async move {
        TlsAcceptor::from(config).accept(listener.accept().await.unwrap().0).await.map(|_| ())
    });
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(&tls12_hello()).await.unwrap();
    let error =
        tokio::time::timeout(Duration::from_secs(20), serve).await.unwrap().unwrap().expect_err("TLS 1.2");
    assert!(error.to_string().contains("Tls13") || error.to_string().contains("ncompatible"), "{error}");
}

/// A well-formed TLS 1.2 ClientHello without supported_versions.
fn tls12_hello() -> Vec<u8> {
    let groups = [0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x17];
    let schemes = [0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x04, 0x03];
    let mut body = vec![0x03, 0x03];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    body.extend(u16::try_from(groups.len() + schemes.len()).unwrap().to_be_bytes());
    body.extend(groups);
    body.extend(schemes);
    let mut handshake = vec![1, 0];
    handshake.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    handshake.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend(u16::try_from(handshake.len()).unwrap().to_be_bytes());
    record.extend(handshake);
    record
}

#[tokio::test]
async fn s34_expired_is_refused() {
    let ca = RoleCa::generate().unwrap();
    let (_a, vault) = identity(&ca, Role::Vault, "v");
    let dir = tempfile::tempdir().unwrap();
    let name = RoleName::new(Role::Chatd, "c").unwrap();
    let files = ca.write_role(dir.path(), &name, DAY).unwrap();
    let old = ca.issue_from(&name, SystemTime::now() - 3 * DAY, DAY).unwrap();
    write_private(&files.certificate, old.certificate.as_bytes()).unwrap();
    write_private(&files.key, old.key.as_bytes()).unwrap();
    let chatd = Identity::load(files).unwrap();
    let error = talk(server(&vault), client(&chatd)).await.expect_err("expired");
    assert!(error.to_string().to_lowercase().contains("expired"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s34_leaf_and_ca_rotate_under_load_without_a_failure() {
    let (ca, next) = (RoleCa::generate().unwrap(), RoleCa::generate().unwrap());
    let (a, vault) = identity(&ca, Role::Vault, "v");
    let (b, chatd) = identity(&ca, Role::Chatd, "c");
    let (s, c) = (server(&vault), client(&chatd));
    let stop = CancellationToken::new();
    let watchers: Vec<_> = [&vault, &chatd]
        .map(|i| tokio::spawn(Arc::clone(i).watch(Duration::from_millis(5), stop.clone())))
        .into();
    let (done, good) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let load = {
        let (done, good) = (Arc::clone(&done), Arc::clone(&good));
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                talk(Arc::clone(&s), Arc::clone(&c)).await.unwrap();
                good.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let settle = |want: u32| {
        let good = Arc::clone(&good);
        async move {
            let goal = good.load(Ordering::Relaxed) + want;
            let wait = async {
                while good.load(Ordering::Relaxed) < goal {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_mins(1), wait).await.unwrap();
        }
    };
    let first = vault.not_after();
    // First both CAs are trusted, then the leaves change, then the old CA is removed.
    let both = format!("{}{}", ca.certificate_pem(), next.certificate_pem());
    for dir in [&a, &b] {
        write_private(&Files::in_directory(dir.path()).ca, both.as_bytes()).unwrap();
    }
    eventually_async("both trust both CAs", || {
        vault.current().roots.len() == 2 && chatd.current().roots.len() == 2
    })
    .await;
    settle(10).await;
    for (dir, role, name) in [(&a, Role::Vault, "v"), (&b, Role::Chatd, "c")] {
        let issued = next.issue(&RoleName::new(role, name).unwrap(), 2 * DAY).unwrap();
        let files = Files::in_directory(dir.path());
        write_private(&files.certificate, issued.certificate.as_bytes()).unwrap();
        write_private(&files.key, issued.key.as_bytes()).unwrap();
    }
    eventually_async("both use the new leaves", || vault.not_after() > first && chatd.not_after() > first)
        .await;
    settle(10).await;
    for dir in [&a, &b] {
        write_private(&Files::in_directory(dir.path()).ca, next.certificate_pem().as_bytes()).unwrap();
    }
    eventually_async("both trust the new CA only", || {
        vault.current().roots.len() == 1 && chatd.current().roots.len() == 1
    })
    .await;
    settle(10).await;
    done.store(true, Ordering::Relaxed);
    load.await.unwrap();
    stop.cancel();
    for w in watchers {
        w.await.unwrap();
    }
    let (_d, old) = identity(&ca, Role::Chatd, "c");
    talk(server(&vault), client(&old)).await.expect_err("the old CA is gone");
}

#[test]
fn a_bad_new_file_keeps_the_last_good_and_errors_name_the_file() {
    let ca = RoleCa::generate().unwrap();
    let (dir, vault) = identity(&ca, Role::Vault, "v");
    let other = ca.issue(&RoleName::new(Role::Vault, "v").unwrap(), DAY).unwrap();
    write_private(&dir.path().join("tls.key"), other.key.as_bytes()).unwrap();
    let error = vault.reload().unwrap_err();
    assert!(matches!(error, Error::KeyMismatch { .. }) && error.to_string().contains("tls.key"), "{error}");
    assert_eq!(vault.name().to_string(), "vault/v");
    std::fs::remove_file(dir.path().join("ca.crt")).unwrap();
    assert!(vault.reload().unwrap_err().to_string().contains("ca.crt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s34_a_mounted_secret_that_is_swapped_is_picked_up_and_a_bad_one_is_not() {
    let (ca, next) = (RoleCa::generate().unwrap(), RoleCa::generate().unwrap());
    let name = RoleName::new(Role::Vault, "v").unwrap();
    let issue = |ca: &RoleCa, days| ca.issue(&name, days * DAY).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let put = |version: &str, leaf: &crate::issue::Issued, bundle: &str| {
        mount(
            dir.path(),
            version,
            &[("tls.crt", &leaf.certificate), ("tls.key", &leaf.key), ("ca.crt", bundle)],
        );
    };
    let first = issue(&ca, 1);
    put("..1", &first, ca.certificate_pem());
    let vault = Identity::load(Files::in_directory(dir.path())).unwrap();
    let stop = CancellationToken::new();
    let watcher = tokio::spawn(Arc::clone(&vault).watch(Duration::from_millis(5), stop.clone()));
    let (_d, old) = identity(&ca, Role::Chatd, "c");
    let (_d2, new) = identity(&next, Role::Chatd, "c");
    let lets_in = |c: &Arc<Identity>| {
        let (vault, c) = (server(&vault), client(c));
        async move { talk(vault, c).await.is_ok() }
    };
    assert!(lets_in(&old).await && !lets_in(&new).await);
    // During a rotation of the CA the file has both CAs. The vault accepts clients of either. Clients of the new CA still refuse the vault's old leaf.
    let both = format!("{}{}", ca.certificate_pem(), next.certificate_pem());
    put("..2", &first, &both);
    eventually_async("the vault trusts both CAs", || vault.current().roots.len() == 2).await;
    let used = vault.expiry();
    // Two bad versions: the key of another certificate, then no files.
    mount(
        dir.path(),
        "..3",
        &[("tls.crt", &first.certificate), ("tls.key", &issue(&ca, 1).key), ("ca.crt", &both)],
    );
    assert!(matches!(vault.reload(), Err(Error::KeyMismatch { .. })));
    assert!(lets_in(&old).await);
    mount(dir.path(), "..4", &[]);
    assert!(matches!(vault.reload(), Err(Error::Read { .. })));
    assert!(lets_in(&old).await && vault.expiry() == used);
    put("..5", &issue(&next, 2), &both);
    eventually_async("the vault uses the new leaf", || vault.expiry().leaf > used.leaf).await;
    assert!(lets_in(&new).await);
    put("..6", &issue(&next, 3), next.certificate_pem());
    eventually_async("the vault trusts the new CA only", || vault.current().roots.len() == 1).await;
    assert!(lets_in(&new).await && !lets_in(&old).await);
    stop.cancel();
    watcher.await.unwrap();
}

#[test]
fn expiry_names_every_link_and_the_ca_that_issued() {
    let (ca, other) = (RoleCa::generate().unwrap(), RoleCa::generate().unwrap());
    let (dir, vault) = identity(&ca, Role::Vault, "v");
    let soon = |at: i64, days: i64| {
        let now = i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
        (at - now.unwrap() - days * 86_400).abs() < 2 * 3600
    };
    let alone = vault.expiry();
    assert!(
        soon(alone.leaf, 1) && alone.intermediate.is_none() && soon(alone.ca.unwrap(), 3650),
        "{alone:?}"
    );
    assert_eq!(vault.not_after(), alone.leaf);
    // Another CA in the file that expires sooner does not matter until it is the issuer.
    let old = other.until(2 * DAY).unwrap();
    let both = format!("{old}{}", ca.certificate_pem());
    write_private(&dir.path().join("ca.crt"), both.as_bytes()).unwrap();
    assert!(vault.reload().unwrap());
    assert_eq!(vault.expiry(), alone);
    let issued = other.issue(&RoleName::new(Role::Vault, "v").unwrap(), 30 * DAY).unwrap();
    write_private(&dir.path().join("tls.crt"), issued.certificate.as_bytes()).unwrap();
    write_private(&dir.path().join("tls.key"), issued.key.as_bytes()).unwrap();
    assert!(vault.reload().unwrap());
    let under_old = vault.expiry();
    assert!(soon(under_old.leaf, 30) && soon(under_old.ca.unwrap(), 2), "{under_old:?}");
    assert_eq!(vault.not_after(), under_old.ca.unwrap());
}

#[test]
fn private_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, _i) = identity(&RoleCa::generate().unwrap(), Role::Admin, "a");
    for file in ["tls.crt", "tls.key", "ca.crt"] {
        assert_eq!(std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_certificate_without_or_with_two_roles_has_none() {
    use crate::role::RoleError;
    let web = WebCa::generate().unwrap().issue(&["localhost"], DAY).unwrap();
    let der = crate::files::certificates(std::path::Path::new("x"), web.certificate.as_bytes()).unwrap();
    assert_eq!(RoleName::from_certificate(&der[0]), Err(RoleError::Missing));
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    for uri in ["bkv://role/vault/a", "bkv://role/admin/a"] {
        params.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().unwrap()));
    }
    let two = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    assert_eq!(RoleName::from_certificate(two.der()), Err(RoleError::Several));
}

proptest! {
    #[test]
    fn s38_role_parsers_never_panic(bytes: Vec<u8>, text in "\\PC{0,80}") {
        let _ = RoleName::from_certificate(&CertificateDer::from(bytes));
        prop_assert!(RoleName::from_uri(&text).is_err());
    }

    #[test]
    fn s38_arbitrary_pem_files_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), middle in "[A-Za-z0-9+/=\n]{0,200}") {
        use std::path::Path;
        let path = Path::new("file");
        for label in ["CERTIFICATE", "PRIVATE KEY"] {
            let pem = format!("-----BEGIN {label}-----\n{middle}\n-----END {label}-----\n");
            for text in [pem.as_bytes(), &bytes] {
                prop_assert!(crate::files::roots(path, text).is_err());
                prop_assert!(crate::files::certified_key(path, text, path, text).is_err());
            }
        }
    }

    #[test]
    fn s38_a_role_round_trips(name in "[a-z0-9-]{1,63}", extra in "[A-Z/%. ]") {
        let role = RoleName::new(Role::Chatd, &name).unwrap();
        prop_assert_eq!(RoleName::from_uri(&role.to_uri()).unwrap(), role.clone());
        let longer = format!("{}{extra}", role.to_uri());
        prop_assert!(RoleName::from_uri(&longer).is_err());
    }
}
