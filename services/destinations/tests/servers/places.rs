//! Destinations of the tests' servers.

use std::fs;
use std::path::PathBuf;

use bkv_destinations::{Address, Cloud, Settings, open};
use bkv_test_servers::{S3, WebDav};

/// A destination at this address with credentials from a file.
pub(crate) fn cloud(address: &str, settings: &Settings, credentials: &str) -> Cloud {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), credentials).unwrap();
    let settings = Settings { credentials: Some(file.path().into()), ..settings.clone() };
    let address = Address::parse(address).unwrap().unwrap();
    open(&address, &settings, &|_: &str| None, || false).unwrap()
}

pub(crate) fn s3_with(server: &S3, address: &str, key: &str, secret: &str) -> Cloud {
    let settings = Settings { endpoint: Some(server.endpoint()), ..Settings::default() };
    let credentials = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    cloud(address, &settings, &credentials)
}

/// A place in the server's bucket.
pub(crate) fn s3(server: &S3, prefix: &str) -> Cloud {
    let (key, secret) = S3::CREDENTIALS;
    s3_with(server, &format!("s3://{}/{prefix}", S3::BUCKET), key, secret)
}

pub(crate) fn webdav_with(server: &WebDav, path: &str, password: &str, authority: Option<PathBuf>) -> Cloud {
    let (user, _) = WebDav::LOGIN;
    let (scheme, host) = (if authority.is_some() { "webdavs" } else { "webdav" }, server.host());
    let name = host.split(':').next().unwrap();
    let settings = Settings { authority, ..Settings::default() };
    let credentials = format!("machine {name} login {user} password {password}\n");
    cloud(&format!("{scheme}://{user}@{host}/{path}"), &settings, &credentials)
}

/// A folder of the server.
pub(crate) fn webdav(server: &WebDav, path: &str) -> Cloud {
    webdav_with(server, path, WebDav::LOGIN.1, None)
}
