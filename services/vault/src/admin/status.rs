//! How the vault is, for people and for the operator.

use axum::Json;
use axum::extract::State;
use bkv_wire::documents::fingerprint;
use serde_json::{Value, json};

use super::Shared;
use crate::replica::{Phase, Replica};
use crate::service::Vault;

pub(super) async fn status(State(s): State<Shared>) -> Json<Value> {
    let vault = &s.vault;
    let documents = vault.documents();
    let d = documents.as_ref().map(|d| &d.documents);
    let capabilities = vault.capabilities().await;
    let fleet = vault.node.replicas().iter().find_map(Replica::fleet).map(|f| f.fleet.to_string());
    let shards: Vec<Value> = vault.node.replicas().iter().map(|r| shard(vault, r)).collect();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "region": vault.region,
        "node": vault.node.node().0,
        "ready": ready(vault),
        "fleet": fleet,
        // Of the public half: whose root this vault obeys.
        "root": fingerprint("root", vault.custody.file()),
        "root_held": vault.custody.key().is_some(),
        "capabilities": capabilities,
        "initialised": vault.node.replicas().iter().all(|r| r.fleet().is_some()),
        "shards": shards,
        "token": format!("{:?}", vault.token.health()),
        "fingerprints": { "delivery": fingerprint("delivery", &vault.delivery_public) },
        // 0: never, so that every token is refused.
        "issuer_keys_read": vault.tokens().map(|t| t.keys().refreshed()),
        "admission": d.map(|d| d.admission.number),
        "policy": d.map(|d| d.policy.number),
        "rollback_protection": "MajorityOnly",
        "notes": notes(vault, d),
    }))
}

/// Ready means: a verified voter in every shard, with its token up.
pub(crate) fn ready(vault: &Vault) -> bool {
    let shards = vault.node.replicas().iter().all(|r| {
        let status = r.status();
        let s = status.borrow();
        s.phase == Phase::Verified && (s.lead || s.leader.is_some()) && r.fleet().is_some()
    });
    shards && matches!(vault.token.health(), bkv_hsm::Health::Up)
}

fn shard(vault: &Vault, r: &Replica) -> Value {
    let status = r.status();
    let s = status.borrow();
    let (phase, why) = match &s.phase {
        Phase::Joining { missing } => {
            ("joining", json!(missing.iter().map(|n| vault.region_of(*n)).collect::<Vec<_>>()))
        }
        Phase::CatchingUp { until } => ("catching-up", json!(until)),
        Phase::Verified => ("verified", Value::Null),
        Phase::Quarantined(why) => ("quarantined", json!(why)),
        Phase::Halted(why) => ("halted", json!(why)),
    };
    json!({
        "shard": r.shard().0,
        "phase": phase,
        "waits_for": why,
        "leads": s.lead,
        "leader": s.leader.map(|n| vault.region_of(n)),
        "term": s.term,
        "applied": r.applied(),
        // Entries up to this one have left the log.
        "purged": r.purged(),
    })
}

fn notes(vault: &Vault, d: Option<&bkv_core::document::Documents>) -> Vec<&'static str> {
    let mut notes = Vec::new();
    if vault.root.development {
        notes.push("development root: its private key lies in the clear on a disk");
    }
    if vault.custody.key().is_some() {
        notes.push("in-fleet root: whoever has the role `admin` can have documents signed, and so admit vaults of their own");
    }
    if d.is_some_and(|d| d.admission.members.len() == 1) {
        notes.push("single region: whoever has its root can test passwords offline");
    }
    if d.is_some_and(|d| d.policy.development) {
        notes.push("development policy: waits and key stretching are below what people need");
    }
    notes
}
