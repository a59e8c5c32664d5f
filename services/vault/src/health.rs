//! `/livez`, `/readyz` and `/metrics`, over plain HTTP. None of them shows anything about an account.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use bkv_net::{Tasks, http};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::catch_up;
use crate::replica::Phase;
use crate::service::{REGIONS, Vault};

/// Serves until `stop`.
pub fn serve(vault: Arc<Vault>, listener: TcpListener, stop: CancellationToken, tasks: &Tasks) {
    let app = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(vault);
    http::serve_plain(listener, app, stop, &tasks.group("health port"));
}

async fn readyz(State(vault): State<Arc<Vault>>) -> (StatusCode, &'static str) {
    if vault.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State(vault): State<Arc<Vault>>) -> String {
    let m = vault.metrics();
    let (mut leader, mut follower, mut joining, mut quarantined, mut halted, mut behind) = (0, 0, 0, 0, 0, 0);
    let mut ended = [0, 0];
    let mut troubles = [0; 4];
    for r in vault.node().replicas() {
        let status = r.status();
        let s = status.borrow();
        match (&s.phase, s.lead) {
            (Phase::Verified, true) => leader += 1,
            (Phase::Verified, false) => follower += 1,
            (Phase::Quarantined(_), _) => quarantined += 1,
            (Phase::Halted(_), _) => halted += 1,
            (Phase::LeftBehind(_), _) => behind += 1,
            _ => joining += 1,
        }
        for (sum, n) in ended.iter_mut().zip(r.ended()) {
            *sum += n;
        }
        for (sum, n) in troubles.iter_mut().zip(r.troubles()) {
            *sum += n;
        }
    }
    for (role, n) in [("leader", leader), ("follower", follower), ("joining", joining)] {
        m.shards.with_label_values(&[role]).set(n);
    }
    m.quarantined.with_label_values(&["older_disk"]).set(quarantined);
    m.quarantined.with_label_values(&["contradiction"]).set(halted);
    m.left_behind.set(behind);
    let mut contradictions: BTreeMap<String, u64> = BTreeMap::new();
    for c in vault.node().contradictions() {
        *contradictions.entry(vault.region_of(c.from)).or_default() += c.times;
    }
    for (sender, times) in contradictions {
        catch_up(&m.contradictions.with_label_values(&[sender.as_str()]), times);
    }
    let mut equivocators: BTreeMap<String, i64> = BTreeMap::new();
    for e in vault.node().equivocators() {
        *equivocators.entry(vault.region_of(e.node)).or_default() += 1;
    }
    // A list that replaces an identity ends its exclusion.
    m.equivocators.reset();
    for (sender, shards) in equivocators {
        m.equivocators.with_label_values(&[sender.as_str()]).set(shards);
    }
    for (cause, n) in ["exhausted", "deleted"].into_iter().zip(ended) {
        catch_up(&m.destroyed.with_label_values(&[cause]), n);
    }
    for (kind, n) in ["split", "two_faced", "snapshot_refused", "snapshot_unsent"].into_iter().zip(troubles) {
        catch_up(&m.troubles.with_label_values(&[kind]), n);
    }
    m.hsm_up.set(i64::from(matches!(vault.token().health(), bkv_hsm::Health::Up)));
    for c in vault.token().counters() {
        catch_up(&m.hsm_operations.with_label_values(&[c.op.name(), c.outcome.name()]), c.count);
    }
    catch_up(&m.elections, vault.node().elections());
    for (region, seconds) in vault.node().round_trips() {
        m.round_trip.with_label_values(&[region.as_str()]).set(seconds);
    }
    m.patience.set(vault.node().election_patience().as_secs_f64());
    m.call_limit.set(vault.node().peers().timing().limit(REGIONS, 2).as_secs_f64());
    if let Some(volume) = vault.node().volume().report() {
        let bytes = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        m.volume_free.set(bytes(volume.space.free));
        m.volume_size.set(bytes(volume.space.size));
        m.volume_full.set(i64::from(volume.is_full()));
    }
    if let Some(tokens) = vault.tokens() {
        m.keys_refreshed(tokens.keys().refreshed());
    }
    if let Some(d) = vault.documents() {
        m.bundle(d.documents.admission.number, d.documents.policy.number);
    }
    m.shards_configured.set(i64::try_from(vault.node().replicas().len()).unwrap_or(0));
    m.expiry(vault.role().expiry());
    m.text()
}
