//! Administration: HTTPS with mutual TLS, role `admin` only. What an operator needs to bring a fleet up and to see how it is; nothing here shows a
//! secret, and documents are only carried: the root's signature decides. An in-fleet root signs at this port's word: see `root`.

mod root;
mod status;

pub(crate) use status::ready;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bkv_core::command::{Command, Init, NewDocuments};
use bkv_core::effect::Outcome;
use bkv_core::secret::Secret32;
use bkv_wire::documents::{Kind, MAX_DOCUMENT, fingerprint};
use serde_json::json;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::env::Network;
use crate::service::Vault;

const HANDSHAKE: Duration = Duration::from_secs(3);
/// Bringing up all shards.
const INIT: Duration = Duration::from_secs(30);

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) vault: Arc<Vault>,
    stop: CancellationToken,
}

/// An error as JSON: the field, what is wrong, what to do.
pub(crate) struct Problem(StatusCode, &'static str, String, &'static str);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "field": self.1, "error": self.2, "remedy": self.3 }))).into_response()
    }
}

/// Serves until stopped.
pub async fn listen(
    vault: Arc<Vault>,
    network: &dyn Network,
    address: SocketAddr,
    tls: Arc<rustls::ServerConfig>,
    stop: CancellationToken,
    tasks: &TaskTracker,
) -> std::io::Result<SocketAddr> {
    let listener = network.listen(address).await?;
    let bound = listener.address()?;
    let shared = Shared { vault, stop: stop.clone() };
    let app = Router::new()
        .route("/v1/status", get(status::status))
        .route("/v1/token", get(token))
        .route("/v1/root", get(root::root))
        .route("/v1/root/sign", post(root::sign))
        .route("/v1/root/sealed", get(root::sealed).post(root::take))
        .route("/v1/admission", get(admission_in_force).post(admission))
        .route("/v1/policy", get(policy_in_force).post(policy))
        .route("/v1/init", post(init))
        .route("/v1/step-down", post(step_down))
        .layer(DefaultBodyLimit::max(MAX_DOCUMENT))
        .with_state(shared);
    let spawner = tasks.clone();
    tasks.spawn(async move {
        let acceptor = TlsAcceptor::from(tls);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                a = listener.accept() => a,
            };
            let Ok(stream) = accepted else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let (acceptor, app, stop) = (acceptor.clone(), app.clone(), stop.clone());
            spawner.spawn(async move {
                let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
                let service = hyper_util::service::TowerToHyperService::new(app);
                let io = hyper_util::rt::TokioIo::new(stream);
                let serve = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
                tokio::select! {
                    () = stop.cancelled() => {}
                    _ = serve => {}
                }
            });
        }
    });
    Ok(bound)
}

/// The public parts that go on the admission list. Whoever signs that list compares the fingerprints.
async fn token(State(s): State<Shared>) -> Result<Json<serde_json::Value>, Problem> {
    let away = |e: bkv_hsm::TokenError| {
        Problem(StatusCode::SERVICE_UNAVAILABLE, "token", e.to_string(), "look at the token's own status")
    };
    let identity = s.vault.token.identity_spki().await.map_err(away)?;
    let capabilities = s.vault.token.probe().await.map_err(away)?;
    Ok(Json(json!({
        "region": s.vault.region,
        "node": s.vault.node.node().0,
        "identity": STANDARD.encode(&identity),
        "delivery": STANDARD.encode(s.vault.delivery_public),
        "fingerprints": {
            "identity": fingerprint("identity", &identity),
            "delivery": fingerprint("delivery", &s.vault.delivery_public),
        },
        "capabilities": capabilities,
    })))
}

/// The signed list in force, as everybody may see it: who has lost their copy gets it from here and checks it against the root.
async fn admission_in_force(State(s): State<Shared>) -> Result<Json<serde_json::Value>, Problem> {
    in_force(&s, |d| &d.admission_signed)
}

/// The signed policy in force.
async fn policy_in_force(State(s): State<Shared>) -> Result<Json<serde_json::Value>, Problem> {
    in_force(&s, |d| &d.policy_signed)
}

fn in_force(
    s: &Shared,
    which: impl Fn(&bkv_core::document::Documents) -> &Vec<u8>,
) -> Result<Json<serde_json::Value>, Problem> {
    let none =
        || Problem(StatusCode::NOT_FOUND, "documents", "none is in force here".into(), "POST both first");
    let installed = s.vault.documents().ok_or_else(none)?;
    Ok(Json(json!({ "signed": STANDARD.encode(which(&installed.documents)) })))
}

async fn admission(State(s): State<Shared>, body: Bytes) -> Result<Json<serde_json::Value>, Problem> {
    document(&s, Kind::Admission, body).await
}

async fn policy(State(s): State<Shared>, body: Bytes) -> Result<Json<serde_json::Value>, Problem> {
    document(&s, Kind::Policy, body).await
}

async fn document(s: &Shared, kind: Kind, body: Bytes) -> Result<Json<serde_json::Value>, Problem> {
    match s.vault.install(kind, body.to_vec(), &s.stop).await {
        Ok(number) => Ok(Json(json!({ "kind": kind.name(), "number": number }))),
        Err(e) => Err(Problem(
            StatusCode::UNPROCESSABLE_ENTITY,
            kind.name(),
            e.to_string(),
            "have it signed by the pinned root with `bkv ceremony sign`; numbers only grow",
        )),
    }
}

/// Makes the fleet: on one vault, once. Repeating it is free.
async fn init(State(s): State<Shared>) -> Result<Json<serde_json::Value>, Problem> {
    let Some(installed) = s.vault.documents() else {
        return Err(Problem(
            StatusCode::CONFLICT,
            "documents",
            "no admission list and policy yet".into(),
            "POST both first",
        ));
    };
    let documents = &installed.documents;
    if usize::from(documents.policy.shards) != s.vault.node.replicas().len() {
        let why = format!(
            "the policy says {}, this vault's configuration {}",
            documents.policy.shards,
            s.vault.node.replicas().len()
        );
        return Err(Problem(
            StatusCode::CONFLICT,
            "shards",
            why,
            "make both the same; it is fixed afterwards",
        ));
    }
    let deadline = Instant::now() + INIT;
    let unavailable = |e: String| {
        Problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "raft",
            e,
            "are all vaults of the admission list up? repeat the same",
        )
    };
    for replica in s.vault.node.replicas() {
        replica.initialize(deadline).await.map_err(|e| unavailable(e.to_string()))?;
    }
    // One index for all shards. If an earlier call came half-way, the one that was made then is used.
    let known = s.vault.node.replicas().iter().find_map(|r| r.fleet().map(|f| f.index.clone()));
    let index = known.unwrap_or_else(|| Secret32::new(s.vault.random.bytes()));
    let mut made = false;
    for replica in s.vault.node.replicas() {
        let command = Init {
            fleet: s.vault.root.fleet,
            lineage: s.vault.root.lineage(),
            era: s.vault.root.era,
            shard: replica.shard().0,
            index: index.clone(),
            documents: NewDocuments {
                admission: documents.admission_signed.clone(),
                policy: documents.policy_signed.clone(),
            },
        };
        loop {
            if replica.fleet().is_some() {
                break;
            }
            match replica.propose(Command::Init(command.clone()), deadline).await {
                Ok(c) if c.outcome == Outcome::Done => {
                    made = true;
                    break;
                }
                Ok(c) => return Err(unavailable(format!("shard {}: {:?}", replica.shard(), c.outcome))),
                // Another vault was elected for this shard: it steps aside for the seed within an election or two.
                Err(e) if Instant::now() >= deadline => return Err(unavailable(e.to_string())),
                Err(_) => {
                    let raft = replica.raft.borrow().clone();
                    if let Some(raft) = raft {
                        let _ = raft.trigger().elect().await;
                    }
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
            }
        }
    }
    // Leaders spread over the regions: nobody is served yet, so this is the moment at which it costs nothing.
    let (me, members) = (s.vault.slot().map_or(1, |slot| slot.0), documents.admission.members.len());
    for (replica, turn) in s.vault.node.replicas().iter().zip((0..members).cycle()) {
        if made && turn + 1 != usize::from(me) {
            replica.step_down();
        }
    }
    Ok(Json(json!({ "fleet": s.vault.root.fleet.to_string(), "shards": s.vault.node.replicas().len() })))
}

async fn step_down(State(s): State<Shared>) -> Json<serde_json::Value> {
    for replica in s.vault.node.replicas() {
        replica.step_down();
    }
    Json(json!({ "stepping_down": true }))
}
