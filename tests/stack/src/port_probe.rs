//! Connections to a vault's ports with any certificate, or none.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bkv_net::frames;
use bkv_wire::channel::RawKeyVerifier;
use bkv_wire::frame::MAX_FRAME;
use futures_util::{FutureExt as _, StreamExt as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(10);

/// How the client authenticates.
pub enum Shows<'a> {
    /// No certificate.
    Nothing,
    /// `tls.crt` and `tls.key` in a folder.
    Folder(&'a Path),
    /// A raw public key that the client generated (RFC 7250).
    OwnRawKey,
}

/// Accepts every certificate of a server: the tests check which clients the *server* accepts. No verifier of the programs can do that.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

fn config(shows: &Shows<'_>, raw_server: bool) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = if raw_server {
        Arc::new(RawKeyVerifier::new(|_| true))
    } else {
        Arc::new(AnyCertificate(provider.signature_verification_algorithms))
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match shows {
        Shows::Nothing => builder.with_no_client_auth(),
        Shows::Folder(folder) => {
            let chain = CertificateDer::pem_file_iter(folder.join("tls.crt")).expect("a certificate");
            let chain = chain.collect::<Result<Vec<_>, _>>().expect("PEM");
            let key = PrivateKeyDer::from_pem_file(folder.join("tls.key")).expect("a key");
            builder.with_client_auth_cert(chain, key).expect("a certificate and its key")
        }
        Shows::OwnRawKey => {
            let pkcs8 = ::aws_lc_rs::signature::EcdsaKeyPair::generate_pkcs8(
                &::aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING,
                &::aws_lc_rs::rand::SystemRandom::new(),
            );
            let pkcs8 = pkcs8.expect("a key").as_ref().to_vec();
            let key = aws_lc_rs::sign::any_ecdsa_type(&PrivateKeyDer::Pkcs8(pkcs8.into())).expect("a key");
            let spki = CertificateDer::from(key.public_key().expect("its public half").as_ref().to_vec());
            let key = Arc::new(rustls::sign::CertifiedKey::new(vec![spki], key));
            builder.with_client_cert_resolver(Arc::new(
                rustls::client::AlwaysResolvesClientRawPublicKeys::new(key),
            ))
        }
    }
}

/// Makes a TLS handshake on a port, sends `bytes` and returns the first bytes of the answer, or none without an answer. In TLS 1.3 the server checks the
/// client's certificate after the client has finished, so only an answer shows that the server accepted it.
pub async fn probe_tls(
    port: u16,
    shows: &Shows<'_>,
    alpn: Option<&[u8]>,
    raw_server: bool,
    bytes: &[u8],
) -> Vec<u8> {
    let mut config = config(shows, raw_server);
    config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
    let work = async {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        let name = ServerName::try_from("vault").map_err(std::io::Error::other)?;
        let mut tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        tls.write_all(bytes).await?;
        tls.flush().await?;
        let mut answer = Vec::with_capacity(16 << 10);
        tls.read_buf(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    timeout(PATIENCE, work).await.ok().and_then(Result::ok).unwrap_or_default()
}

/// Sends `bytes` over plain TCP and returns the bytes until the server closes. None: the server did not close in time.
pub async fn probe_tcp(port: u16, bytes: &[u8]) -> Option<Vec<u8>> {
    let work = async {
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        tcp.write_all(bytes).await?;
        let mut answer = Vec::new();
        match tcp.read_to_end(&mut answer).await {
            Err(e) if e.kind() != std::io::ErrorKind::ConnectionReset => Err(e),
            _ => Ok(answer),
        }
    };
    timeout(PATIENCE, work).await.ok().and_then(Result::ok)
}

/// The first whole frame of a relay link.
pub fn first_frame(bytes: &[u8]) -> Option<bkv_wire::proto::outer::Frame> {
    frames::reader(bytes, MAX_FRAME).next().now_or_never()??.ok()
}

/// A ClientHello as a TLS 1.2 client sends it: without `supported_versions`, with suites and groups that our servers accept otherwise.
pub fn tls12_hello() -> Vec<u8> {
    let extensions: &[&[u8]] = &[
        &[0, 10, 0, 6, 0, 4, 0, 0x1d, 0, 0x17], // groups: x25519, P-256
        &[0, 11, 0, 2, 1, 0],                   // points: uncompressed
        &[0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1], // ECDSA P-256, RSA-PSS, RSA
        &[0, 23, 0, 0],                         // extended master secret
    ];
    let extensions = extensions.concat();
    let mut body = vec![3, 3];
    body.extend_from_slice(&[0x42; 32]);
    body.push(0);
    body.extend_from_slice(&[0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    body.extend_from_slice(&u16::try_from(extensions.len()).expect("short").to_be_bytes());
    body.extend_from_slice(&extensions);
    let mut handshake = vec![1, 0];
    handshake.extend_from_slice(&u16::try_from(body.len()).expect("short").to_be_bytes());
    handshake.extend_from_slice(&body);
    let mut record = vec![22, 3, 1];
    record.extend_from_slice(&u16::try_from(handshake.len()).expect("short").to_be_bytes());
    record.extend_from_slice(&handshake);
    record
}
