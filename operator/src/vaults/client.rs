//! One vault's admin door.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bkv_mtls::{ClientRole, Identity, Role};
use bkv_wire::documents::Kind;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answers::{RootAnswer, SealedRoots, VaultStatus, VaultToken};

/// The admin port of every vault's pod.
pub(crate) const ADMIN_PORT: u16 = 7300;
const CONNECT: Duration = Duration::from_secs(2);
/// For what a vault answers from memory or by one call to its token.
const ASK: Duration = Duration::from_secs(5);
/// Initialising elects in every shard.
const INIT: Duration = Duration::from_secs(40);
/// A connection that nobody has used for so long is closed.
const IDLE: Duration = Duration::from_secs(15);
/// More is no answer of a vault.
const MAX_ANSWER: usize = 1 << 20;

/// A vault did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// No connection, or none that proves the role and region.
    #[error("vault {region} can't be reached: {why}")]
    Unreachable {
        /// Which.
        region: String,
        /// In words.
        why: String,
    },
    /// It answers and refuses.
    #[error("vault {region} refuses ({status}): {why}")]
    Refused {
        /// Which.
        region: String,
        /// HTTP status.
        status: u16,
        /// In its words, with its remedy.
        why: String,
    },
    /// Its answer has another form.
    #[error("vault {region} answers oddly: {why}")]
    Odd {
        /// Which.
        region: String,
        /// In words.
        why: String,
    },
}

/// One vault's admin door.
#[derive(Clone, Debug)]
pub struct VaultClient {
    region: String,
    base: String,
    http: reqwest::Client,
}

impl VaultClient {
    /// At a pod's address. The certificate must say `vault` and this region: another pod that got the address, or a vault of another region, is refused.
    pub fn new(region: &str, address: IpAddr, identity: Arc<Identity>) -> Result<Self, VaultError> {
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
            // At rest nobody asks for a minute, and the buffers of an open connection are most of what is remembered of a vault.
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|e| unreachable(e.to_string()))?;
        let host = match address {
            IpAddr::V4(a) => a.to_string(),
            IpAddr::V6(a) => format!("[{a}]"),
        };
        Ok(Self { region: region.to_owned(), base: format!("https://{host}:{ADMIN_PORT}"), http })
    }

    /// How it is.
    pub async fn status(&self) -> Result<VaultStatus, VaultError> {
        self.get("/v1/status").await
    }

    /// The public parts of its keys.
    pub async fn token(&self) -> Result<VaultToken, VaultError> {
        self.get("/v1/token").await
    }

    /// The public root that it has.
    pub async fn root(&self) -> Result<RootAnswer, VaultError> {
        self.get("/v1/root").await
    }

    /// Has it sign a document with an in-fleet root.
    pub async fn sign(&self, kind: Kind, unsigned: Vec<u8>) -> Result<Vec<u8>, VaultError> {
        #[derive(Deserialize)]
        struct Signed {
            signed: String,
        }
        let path = format!("/v1/root/sign?kind={}", kind.name());
        let answer: Signed = self.post(&path, unsigned, ASK).await?;
        STANDARD.decode(answer.signed).map_err(|e| self.odd(&e))
    }

    /// The signed document in force there; None: it has none.
    pub async fn in_force(&self, kind: Kind) -> Result<Option<Vec<u8>>, VaultError> {
        #[derive(Deserialize)]
        struct Signed {
            signed: String,
        }
        match self.get::<Signed>(&format!("/v1/{}", kind.name())).await {
            Ok(answer) => STANDARD.decode(answer.signed).map(Some).map_err(|e| self.odd(&e)),
            Err(VaultError::Refused { status: 404, .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Hands it a signed document.
    pub async fn install(&self, kind: Kind, signed: Vec<u8>) -> Result<(), VaultError> {
        self.post::<Value>(&format!("/v1/{}", kind.name()), signed, ASK).await.map(drop)
    }

    /// Makes the fleet.
    pub async fn init(&self) -> Result<(), VaultError> {
        self.post::<Value>("/v1/init", Vec::new(), INIT).await.map(drop)
    }

    /// The root's private half, sealed for each admitted vault.
    pub async fn sealed_root(&self) -> Result<SealedRoots, VaultError> {
        self.get("/v1/root/sealed").await
    }

    /// Hands it the root's private half, sealed for it.
    pub async fn keep_root(&self, sealed: &str) -> Result<(), VaultError> {
        let body = json!({ "sealed": sealed }).to_string().into_bytes();
        self.post::<Value>("/v1/root/sealed", body, ASK).await.map(drop)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, VaultError> {
        self.answer(self.http.get(format!("{}{path}", self.base))).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<T, VaultError> {
        let request = self.http.post(format!("{}{path}", self.base)).timeout(patience);
        self.answer(request.header("content-type", "application/octet-stream").body(body)).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, VaultError> {
        let unreachable =
            |e: reqwest::Error| VaultError::Unreachable { region: self.region.clone(), why: chain(&e) };
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(self.odd(&"too long"));
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            let said: Value = serde_json::from_slice(&body).unwrap_or_default();
            let word = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            return Err(VaultError::Refused {
                region: self.region.clone(),
                status: status.as_u16(),
                why: format!("{}: {}; {}", word("field"), word("error"), word("remedy")),
            });
        }
        serde_json::from_slice(&body).map_err(|e| self.odd(&e))
    }

    fn odd(&self, why: &dyn std::fmt::Display) -> VaultError {
        VaultError::Odd { region: self.region.clone(), why: why.to_string() }
    }
}

/// An error with its sources: reqwest hides the cause in them. No address of a person is in it, only the pod's.
fn chain(e: &dyn std::error::Error) -> String {
    let mut words = e.to_string();
    let mut source = e.source();
    while let Some(e) = source {
        words = format!("{words}: {e}");
        source = e.source();
    }
    words
}
