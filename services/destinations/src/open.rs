//! An address, a person's choices and the environment, as a destination.

use opendal_core::{HttpTransporter, OperationContext, Operator};
use opendal_service_s3::S3;
use opendal_service_webdav::Webdav;
use url::{Host, Url};

use crate::address::{Address, AddressError};
use crate::cloud::{Cloud, Kind};
use crate::credentials::{Aws, CredentialsError, Login};
use crate::hrefs::Within;
use crate::settings::{Addressing, Environment, Settings};
use crate::tls;
use crate::transport::Transport;

/// The region of S3 servers that have none.
const NO_REGION: &str = "us-east-1";

/// Why a destination can't be used. The text ends with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The endpoint.
    #[error("the endpoint {0} is no URL of a server; write https://HOST or https://HOST:PORT")]
    Endpoint(String),
    /// Without TLS whoever is between reads the password, or can put other bytes into the answers.
    #[error("{0} would be reached without TLS; write https:// or webdavs://, or allow it with --allow-http")]
    PlainHttp(Url),
    /// The authority's file, or the system's authorities.
    #[error(
        "the authority of the server's certificate can't be used: {0}; name a PEM file with certificates"
    )]
    Authority(String),
    /// Anything else.
    #[error("the destination can't be used: {0}; check its address and options")]
    Other(String),
}

/// Opens a destination. No request is sent yet. `stop` is asked while a call waits, and ends the call.
///
/// # Errors
/// [`OpenError`], which names the option or file to change.
pub fn open(
    address: &Address,
    settings: &Settings,
    env: &dyn Environment,
    stop: impl Fn() -> bool + Send + Sync + 'static,
) -> Result<Cloud, OpenError> {
    let tls = tls::config(settings.authority.as_deref()).map_err(OpenError::Authority)?;
    let mut within = None;
    let (operator, place, kind, is_https) = match address {
        Address::S3 { bucket, prefix } => s3(address, bucket, prefix, settings, env)?,
        Address::WebDav { server, path, user } => {
            safe(server, settings)?;
            let host = server.host_str().unwrap_or_default();
            let login = Login::find(host, user.as_deref(), settings, env)?;
            let mut service = Webdav::default()
                .endpoint(server.as_str().trim_end_matches('/'))
                .root(&format!("/{path}"))
                // Folders that are known to exist are not asked for again at each object.
                .disable_create_dir(true);
            if let Some(login) = login {
                service = service.username(&login.user).password(&login.password);
            }
            let port = server.port().map(|port| format!(":{port}")).unwrap_or_default();
            let root = if path.is_empty() { "/".into() } else { format!("/{path}/") };
            within = Some(Within { host: format!("{host}{port}"), root });
            let operator = Operator::new(service).map_err(|e| other(&e))?;
            (operator, address.to_string(), Kind::WebDav, server.scheme() == "https")
        }
    };
    let transport = Transport::new(tls, is_https, within).map_err(|e| other(&e))?;
    let context = OperationContext::new().with_http_transport(HttpTransporter::new(transport));
    Cloud::new(operator.with_context(context), place, kind, Box::new(stop)).map_err(|e| other(&e))
}

fn other(error: &dyn std::error::Error) -> OpenError {
    OpenError::Other(error.to_string())
}

fn s3(
    address: &Address,
    bucket: &str,
    prefix: &str,
    settings: &Settings,
    env: &dyn Environment,
) -> Result<(Operator, String, Kind, bool), OpenError> {
    let aws = Aws::find(settings, env)?;
    let endpoint =
        settings.endpoint.clone().or(aws.endpoint).map(|text| server(&text, settings)).transpose()?;
    let region = settings.region.clone().or(aws.region).unwrap_or_else(|| NO_REGION.into());
    let usual = if endpoint.is_some() { Addressing::Path } else { Addressing::Virtual };
    let mut service = S3::default()
        .bucket(bucket)
        .root(&format!("/{prefix}"))
        .region(&region)
        .access_key_id(&aws.key)
        .secret_access_key(&aws.secret)
        // Some servers keep what has come of an upload that broke off, unless it contradicts a checksum. A bucket with object lock demands one.
        .checksum_algorithm("md5")
        // What was found is all there is: nothing is asked for at other services.
        .disable_config_load()
        .disable_ec2_metadata();
    if let Some(session) = &aws.session {
        service = service.session_token(session);
    }
    if settings.addressing.unwrap_or(usual) == Addressing::Virtual && !bucket.contains('.') {
        service = service.enable_virtual_host_style();
    }
    let (place, kind) = match &endpoint {
        Some(endpoint) => {
            let endpoint = endpoint.as_str().trim_end_matches('/');
            service = service.endpoint(endpoint);
            (format!("{address} at {endpoint}"), Kind::S3)
        }
        None => (address.to_string(), Kind::Amazon),
    };
    let is_https = endpoint.is_none_or(|endpoint| endpoint.scheme() == "https");
    Ok((Operator::new(service).map_err(|e| other(&e))?, place, kind, is_https))
}

/// The URL of a server, which may be reached with these settings.
fn server(text: &str, settings: &Settings) -> Result<Url, OpenError> {
    // A password in it must not get into the message.
    let shown = if text.contains('@') { "with an @" } else { text };
    let wrong = || OpenError::Endpoint(shown.chars().filter(|c| !c.is_control()).collect());
    let url = Url::parse(text).map_err(|_| wrong())?;
    // Credentials do not belong in it, and would end up in messages.
    let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
        return Err(wrong());
    }
    if !is_bare {
        return Err(AddressError::Password.into());
    }
    safe(&url, settings)?;
    Ok(url)
}

fn safe(url: &Url, settings: &Settings) -> Result<(), OpenError> {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    if url.scheme() == "https" || is_here || settings.allow_http {
        Ok(())
    } else {
        Err(OpenError::PlainHttp(url.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(text: &str, settings: &Settings, variables: &[(&str, &str)]) -> Result<String, String> {
        let get =
            |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let address = Address::parse(text).unwrap().unwrap();
        match open(&address, settings, &get, || false) {
            Ok(cloud) => Ok(cloud.place().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_place_is_named_with_its_server_and_never_with_credentials() {
        let keys = [("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "SK")];
        let settings = Settings::default();
        assert_eq!(opened("s3://b/p", &settings, &keys).as_deref(), Ok("s3://b/p"));
        let endpoint = |text: &str| Settings { endpoint: Some(text.into()), ..Settings::default() };
        let own = endpoint("https://s3.example.org/");
        assert_eq!(opened("s3://b", &own, &keys).as_deref(), Ok("s3://b at https://s3.example.org"));
        assert!(opened("s3://b", &settings, &[]).unwrap_err().contains("AWS_ACCESS_KEY_ID"));
        for (text, want) in
            [("ftp://h", "no URL"), ("h:1", "no URL"), ("https://a:SECRET@h", "--credentials")]
        {
            let error = opened("s3://b", &endpoint(text), &keys).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
        assert_eq!(opened("webdavs://anna@h/x", &settings, &[]).as_deref(), Ok("webdavs://anna@h/x"));
    }

    #[test]
    fn a_server_elsewhere_needs_tls_unless_a_person_says_otherwise() {
        let settings = Settings::default();
        assert!(opened("webdav://192.0.2.1/x", &settings, &[]).unwrap_err().contains("--allow-http"));
        assert!(opened("webdav://localhost.example.org/x", &settings, &[]).is_err());
        for here in ["webdav://127.0.0.1:8080/x", "webdav://[::1]/x", "webdav://localhost/x"] {
            assert!(opened(here, &settings, &[]).is_ok(), "{here}");
        }
        let allowed = Settings { allow_http: true, ..settings };
        assert!(opened("webdav://192.0.2.1/x", &allowed, &[]).is_ok());
    }

    #[test]
    fn an_authority_that_is_no_certificate_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let settings = Settings { authority: Some(file.path().into()), ..Settings::default() };
        let error = opened("webdavs://h/x", &settings, &[]).unwrap_err();
        assert!(error.contains(file.path().to_str().unwrap()), "{error}");
    }
}
