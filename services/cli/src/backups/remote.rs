//! The options of destinations on a server.

use std::path::{Path, PathBuf};

use bkv_destinations::{Address, Addressing, Cloud, OpenError, Settings};
use clap::{Args, ValueEnum};

use crate::exit::{Exit, Failure, Outcome};

/// How an S3 server finds the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Style {
    /// `https://HOST/BUCKET/…`
    Path,
    /// `https://BUCKET.HOST/…`
    Virtual,
}

/// What the address of a destination does not say.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Remote {
    /// URL of an S3 server that is not Amazon's. [default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or `endpoint_url` of the profile in ~/.aws/config]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Region of the bucket. [default: AWS_REGION, AWS_DEFAULT_REGION, or `region` of the profile]
    #[arg(long)]
    pub region: Option<String>,
    /// How the S3 server finds the bucket: `path` is https://HOST/BUCKET, `virtual` is https://BUCKET.HOST. [default: virtual at Amazon, path elsewhere]
    #[arg(long, value_enum)]
    pub addressing: Option<Style>,
    /// File with the credentials: for S3 in the form of ~/.aws/credentials, for WebDAV in that of ~/.netrc. [default: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or
    /// ~/.aws/credentials; for WebDAV ~/.netrc]
    #[arg(long, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Section of ~/.aws/credentials and ~/.aws/config. [default: AWS_PROFILE, or `default`]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// PEM file with the authorities that may certify the server, in place of the system's.
    #[arg(long, value_name = "FILE")]
    pub authority: Option<PathBuf>,
    /// Also use a server on another machine without TLS. Whoever is between can read the password.
    #[arg(long)]
    pub allow_http: bool,
}

/// The address of a server. None for a path of this machine.
pub(crate) fn address(named: &Path) -> Outcome<Option<Address>> {
    let parsed = named.to_str().and_then(Address::parse).filter(|_| !named.exists());
    parsed.transpose().map_err(|error| failure(&error.to_string(), Exit::Usage))
}

/// Text and remedy are parted by a semicolon.
fn failure(text: &str, exit: Exit) -> Failure {
    match text.split_once("; ") {
        Some((message, remedy)) => Failure::new(exit, message).remedy(super::failure::sentence(remedy)),
        None => Failure::new(exit, text),
    }
}

impl Remote {
    /// Asks the server once. `exit` is the code if it can't be used.
    pub(crate) fn open(&self, address: &Address, exit: Exit) -> Outcome<Cloud> {
        let addressing = self.addressing.map(|style| match style {
            Style::Path => Addressing::Path,
            Style::Virtual => Addressing::Virtual,
        });
        let settings = Settings {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            addressing,
            credentials: self.credentials.clone(),
            profile: self.profile.clone(),
            authority: self.authority.clone(),
            allow_http: self.allow_http,
        };
        let env = |name: &str| std::env::var(name).ok();
        let opened = bkv_destinations::open(address, &settings, &env, crate::signals::is_interrupted);
        let cloud = opened.map_err(|error| {
            let exit = match &error {
                OpenError::Address(_) | OpenError::PlainHttp(_) | OpenError::Endpoint(_) => Exit::Usage,
                OpenError::Credentials(_) | OpenError::Authority(_) => Exit::NoInput,
                OpenError::Other(_) => exit,
            };
            failure(&error.to_string(), exit)
        })?;
        let exists = cloud.exists().map_err(|fault| super::failure::at_place(&fault, exit))?;
        if !exists && exit == Exit::NoInput {
            return Err(Failure::new(exit, format!("there is no folder {}", cloud.place()))
                .remedy("Check the address. A backup makes the folder."));
        }
        Ok(cloud)
    }
}
