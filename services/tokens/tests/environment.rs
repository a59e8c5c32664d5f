//! The fetch of an issuer's keys, in a process whose environment an attacker has chosen.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bkv_tokens::dev::DevIssuer;
use bkv_tokens::{KeyRing, KeySource};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;

/// Set in the child. The test below runs itself again as a child, because variables are of a whole process.
const URL: &str = "BKV_TEST_JWKS_URL";
const CA_FILE: &str = "BKV_TEST_JWKS_CA_FILE";

/// A server for `localhost` by an authority of its own, whose certificate it writes to `ca`. It answers every request with a JWKS.
fn serve(ca: &Path) -> SocketAddr {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(ca, params.self_signed(&authority_key).unwrap().pem()).unwrap();
    let authority = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let leaf =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let jwks = DevIssuer::generate("https://issuer.example").unwrap().jwks();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, stream.unwrap());
            // A client that does not trust the certificate closes here.
            if tls.read(&mut [0; 4096]).is_ok() {
                let _ = write!(
                    tls,
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{jwks}",
                    jwks.len()
                );
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        }
    });
    address
}

/// Counts the connections that it gets and closes them.
fn proxy() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    thread::spawn(move || {
        for _ in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, count)
}

fn child(url: &str) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let source = KeySource::Url { url: url.to_owned(), ca_file: std::env::var_os(CA_FILE).map(Into::into) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ring = runtime.block_on(KeyRing::load(source)).unwrap();
    println!("{}", if ring.refreshed() > 0 { "KEYS" } else { "NO KEYS" });
}

/// S41: whoever can set variables of a vault's process has the vault read no other keys, neither by a proxy nor by an authority of theirs.
#[test]
fn s41_the_environment_does_not_move_the_fetch_of_keys() {
    if let Ok(url) = std::env::var(URL) {
        return child(&url);
    }
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let server = serve(&ca);
    let (proxy, connections) = proxy();
    let fetch = |variables: &[(&str, String)]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "s41_the_environment_does_not_move_the_fetch_of_keys", "--nocapture"]);
        for name in ["NO_PROXY", "no_proxy", "SSL_CERT_DIR"] {
            command.env_remove(name);
        }
        command.env(URL, format!("https://localhost:{}/jwks.json", server.port()));
        let output = command.envs(variables.iter().map(|(k, v)| (k, v))).output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && out.contains("KEYS"), "{out}");
        !out.contains("NO KEYS")
    };
    let pem = ca.to_str().unwrap().to_owned();
    assert!(!fetch(&[("SSL_CERT_FILE", pem.clone())]), "an authority that the environment names");
    let by = format!("http://{proxy}");
    let proxies = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].map(|name| (name, by.clone()));
    let mut configured = proxies.to_vec();
    configured.push((CA_FILE, pem));
    assert!(fetch(&configured), "the authority that the configuration names");
    assert_eq!(connections.load(Ordering::SeqCst), 0, "connections to the proxy");
}
