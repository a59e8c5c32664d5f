//! The vault's status, for people and for the operator.

use axum::Json;
use axum::extract::State;
use bkv_admin_api::{Fingerprints, Phase, RollbackProtection, ShardStatus, TokenHealth, VaultStatus, Volume};
use bkv_core::document::Documents;
use bkv_wire::documents::fingerprint;

use super::Shared;
use super::token::capability;
use crate::replica::{self, Replica};
use crate::service::Vault;

pub(super) async fn status(State(s): State<Shared>) -> Json<VaultStatus> {
    let vault = &s.vault;
    let documents = vault.documents();
    let d = documents.as_ref().map(|d| &d.documents);
    let replicas = vault.node().replicas();
    let (token, token_error) = match vault.token().health() {
        bkv_hsm::Health::Up => (TokenHealth::Up, None),
        bkv_hsm::Health::Down { reason, .. } => (TokenHealth::Down, Some(reason.to_string())),
    };
    Json(VaultStatus {
        version: Some(env!("CARGO_PKG_VERSION").into()),
        region: vault.region().into(),
        node: vault.node().node().0,
        state_versions: Some((vault.node().versions().oldest, vault.node().versions().newest)),
        ready: vault.is_ready(),
        fleet: replicas.iter().find_map(Replica::fleet).map(|f| f.fleet.to_string()),
        root: Some(fingerprint("root", vault.root_file())),
        root_held: vault.holds_root(),
        capabilities: vault.capabilities().await.map(|all| all.iter().copied().map(capability).collect()),
        initialised: replicas.iter().all(|r| r.fleet().is_some()),
        shards: replicas.iter().map(|r| shard(vault, r)).collect(),
        token,
        token_error,
        fingerprints: Fingerprints {
            identity: None,
            delivery: fingerprint("delivery", vault.delivery_public()),
        },
        issuer_keys_read: vault.tokens().map(|t| t.keys().refreshed()),
        issuer_keys_fresh: vault.tokens().map(|t| t.keys().is_fresh()),
        admission: d.map(|d| d.admission.number),
        policy: d.map(|d| d.policy.number),
        rollback_protection: RollbackProtection::MajorityOnly,
        volume: vault.node().volume().report().map(|v| Volume {
            free: v.space.free,
            size: v.space.size,
            keep_free: v.keep_free,
            full: v.is_full(),
            reserve: v.has_reserve,
        }),
        notes: notes(vault, d),
    })
}

fn shard(vault: &Vault, r: &Replica) -> ShardStatus {
    let status = r.status();
    let s = status.borrow();
    let phase = match &s.phase {
        replica::Phase::Joining { missing } => {
            Phase::Joining(missing.iter().map(|n| vault.region_of(*n)).collect())
        }
        replica::Phase::CatchingUp { until } => Phase::CatchingUp(*until),
        replica::Phase::Verified => Phase::Verified,
        replica::Phase::Quarantined(why) => Phase::Quarantined(why.clone()),
        replica::Phase::Halted(why) => Phase::Halted(why.clone()),
        replica::Phase::LeftBehind(why) => Phase::LeftBehind(why.clone()),
    };
    ShardStatus {
        shard: r.shard().0,
        phase,
        leads: s.lead,
        leader: s.leader.map(|n| vault.region_of(n)),
        term: s.term,
        applied: r.applied(),
        purged: r.purged(),
        state_version: r.state().version(),
    }
}

fn notes(vault: &Vault, d: Option<&Documents>) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |text: &str| notes.push(text.to_owned());
    if vault.root().development {
        note("development root: its private key lies in the clear on a disk");
    }
    if vault.holds_root() {
        note(
            "in-fleet root: an attacker with the role `admin` can have documents signed, and so admit vaults of their own",
        );
    }
    if d.is_some_and(|d| d.admission.members.len() == 1) {
        note("single region: an attacker who is root on its host can test passwords offline");
    }
    if d.is_some() && !vault.can_verify_tokens() {
        note("no issuer's keys younger than a day: this vault refuses every access token");
    }
    if d.is_some_and(|d| d.policy.development) {
        note("development policy: waits and key stretching are weaker than people need");
    }
    if let Some((version, regions)) = vault.raise_waits() {
        let each = regions.iter().map(|(node, why)| format!("{} ({why})", vault.region_of(*node)));
        note(&format!(
            "version {version} of the state waits until every region has signed that its program can apply it. Missing: {}",
            each.collect::<Vec<_>>().join(", "),
        ));
    }
    for e in vault.node().equivocators() {
        note(&format!(
            "the vault of {} has signed two histories of shard {} in term {}, at index {}: this vault exchanges no Raft messages with it in that shard. An attacker has its keys: sign an admission list with another identity for it",
            vault.region_of(e.node),
            e.shard,
            e.term,
            e.index,
        ));
    }
    for c in vault.node().contradictions() {
        note(&format!(
            "the vault of {} contradicted this vault {} times in shard {}, last in term {}: {}. One of the two is wrong: compare their logs",
            vault.region_of(c.from),
            c.times,
            c.shard,
            c.term,
            c.why,
        ));
    }
    notes
}
