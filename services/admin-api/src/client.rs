//! A client of one vault's administration port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bkv_mtls::{ClientRole, Identity, Role};
use bkv_wire::documents::Kind;
use serde::de::DeserializeOwned;
use thiserror_ext::AsReport as _;

use crate::{
    FleetMade, HandOver, Installed, Problem, PublicRoot, RootHeld, SealedRoots, Signed, VaultStatus,
    VaultToken, paths,
};

const CONNECT: Duration = Duration::from_secs(2);
/// Deadline of a request that a vault answers from memory or by one call to its token.
const ASK: Duration = Duration::from_secs(5);
/// Deadline of `init`, which holds an election in every shard.
const INIT: Duration = Duration::from_secs(40);
/// The client closes a connection that it has not used for so long.
const IDLE: Duration = Duration::from_secs(15);
/// Longest answer, bytes: a lying vault must not fill this process's memory.
const MAX_ANSWER: usize = 1 << 20;

/// A request to a vault failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// There is no connection, or the server does not prove the role `vault` and its region.
    #[error("vault {region} can't be reached: {why}")]
    Unreachable {
        /// The vault's region.
        region: String,
        /// The error and its causes.
        why: String,
    },
    /// The vault refuses the request.
    #[error("vault {region} refuses ({status}): {problem}")]
    Refused {
        /// The vault's region.
        region: String,
        /// HTTP status.
        status: u16,
        /// What the vault reports.
        problem: Problem,
    },
    /// The vault's answer is too long, or does not parse.
    #[error("vault {region} gives an unusable answer: {why}")]
    UnusableAnswer {
        /// The vault's region.
        region: String,
        /// What is wrong with it.
        why: String,
    },
}

/// One vault's administration port.
#[derive(Clone, Debug)]
pub struct VaultClient {
    region: String,
    base: String,
    http: reqwest::Client,
}

impl VaultClient {
    /// A client for the vault of `region` at `address`. The server's certificate must name the role `vault` and this region: a program that took over
    /// the address, or a vault of another region, is refused.
    pub fn new(region: &str, address: SocketAddr, identity: Arc<Identity>) -> Result<Self, VaultError> {
        let unreachable = |why: String| VaultError::Unreachable { region: region.to_owned(), why };
        let tls = ClientRole::new(identity, Role::Vault)
            .named(region)
            .build()
            .map_err(|e| unreachable(e.to_string()))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.as_ref().clone())
            .connect_timeout(CONNECT)
            .timeout(ASK)
            .pool_max_idle_per_host(1)
            // Close idle connections: their buffers would be most of the operator's memory for each vault.
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|e| unreachable(e.to_report_string()))?;
        Ok(Self { region: region.to_owned(), base: format!("https://{address}"), http })
    }

    /// The vault's status: token, shards, documents.
    pub async fn status(&self) -> Result<VaultStatus, VaultError> {
        self.get(paths::STATUS).await
    }

    /// The public parts of the vault's keys.
    pub async fn token(&self) -> Result<VaultToken, VaultError> {
        self.get(paths::TOKEN).await
    }

    /// The public root that the vault obeys.
    pub async fn root(&self) -> Result<PublicRoot, VaultError> {
        self.get(paths::ROOT).await
    }

    /// Has the vault sign a document with the in-fleet root.
    pub async fn sign(&self, kind: Kind, unsigned: Vec<u8>) -> Result<Vec<u8>, VaultError> {
        let path = format!("{}?kind={}", paths::ROOT_SIGN, kind.name());
        Ok(self.post::<Signed>(&path, unsigned, ASK).await?.signed)
    }

    /// The signed document in force. None if the vault has none.
    pub async fn in_force(&self, kind: Kind) -> Result<Option<Vec<u8>>, VaultError> {
        match self.get::<Signed>(document(kind)).await {
            Ok(answer) => Ok(Some(answer.signed)),
            Err(VaultError::Refused { status: 404, .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Hands the vault a signed document.
    pub async fn install(&self, kind: Kind, signed: Vec<u8>) -> Result<(), VaultError> {
        self.post::<Installed>(document(kind), signed, ASK).await.map(drop)
    }

    /// Makes the fleet. Repeating it changes nothing.
    pub async fn init(&self) -> Result<FleetMade, VaultError> {
        self.post(paths::INIT, Vec::new(), INIT).await
    }

    /// The root's private half, sealed for each other admitted vault.
    pub async fn sealed_root(&self) -> Result<SealedRoots, VaultError> {
        self.get(paths::ROOT_SEALED).await
    }

    /// Hands the vault the root's private half, sealed for it.
    pub async fn keep_root(&self, sealed: Vec<u8>) -> Result<(), VaultError> {
        let body = serde_json::to_vec(&HandOver { sealed }).map_err(|e| self.unusable(&e))?;
        self.post::<RootHeld>(paths::ROOT_SEALED, body, ASK).await.map(drop)
    }

    /// One request with its raw answer, HTTP status and body, for tests: `POST` if there is a body.
    pub async fn call(&self, path: &str, body: Option<Vec<u8>>) -> Result<(u16, Vec<u8>), VaultError> {
        let url = format!("{}{path}", self.base);
        let request = match body {
            Some(body) => self.http.post(url).timeout(INIT).body(body),
            None => self.http.get(url),
        };
        self.send(request).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, VaultError> {
        self.answer(self.http.get(format!("{}{path}", self.base))).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Vec<u8>,
        deadline: Duration,
    ) -> Result<T, VaultError> {
        let request = self.http.post(format!("{}{path}", self.base)).timeout(deadline);
        self.answer(request.header("content-type", "application/octet-stream").body(body)).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, VaultError> {
        let (status, body) = self.send(request).await?;
        if !(200..300).contains(&status) {
            // A proxy may answer with another body. Then the HTTP status is the only fact.
            let problem = serde_json::from_slice(&body).unwrap_or_default();
            return Err(VaultError::Refused { region: self.region.clone(), status, problem });
        }
        serde_json::from_slice(&body).map_err(|e| self.unusable(&e))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(u16, Vec<u8>), VaultError> {
        let unreachable = |e: reqwest::Error| VaultError::Unreachable {
            region: self.region.clone(),
            why: e.to_report_string(),
        };
        let mut answer = request.send().await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(self.unusable(&"too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((answer.status().as_u16(), body))
    }

    fn unusable(&self, why: &dyn std::fmt::Display) -> VaultError {
        VaultError::UnusableAnswer { region: self.region.clone(), why: why.to_string() }
    }
}

const fn document(kind: Kind) -> &'static str {
    match kind {
        Kind::Admission => paths::ADMISSION,
        Kind::Policy => paths::POLICY,
    }
}
