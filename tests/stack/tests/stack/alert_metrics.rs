//! An alert on a misspelled metric never fires: the programs expose every metric that the alerts use, with the labels that they group by.

use std::time::Duration;

use bkv_stack_tests::chatd::{http, metric};
use bkv_stack_tests::{Fleet, RIGHT, wait};

const SOON: Duration = Duration::from_secs(20);

/// Metrics of vaults. `bkv_vault_quarantined` and `bkv_vault_keys_destroyed_total` have all their labels from the first scrape on.
const VAULT: [&str; 19] = [
    "bkv_vault_shards{role=\"leader\"}",
    "bkv_vault_shards_configured",
    "bkv_vault_quarantined{reason=\"older_disk\"}",
    "bkv_vault_quarantined{reason=\"contradiction\"}",
    "bkv_vault_keys_destroyed_total{cause=\"exhausted\"}",
    "bkv_vault_hsm_up",
    "bkv_vault_hsm_operations_total{op=\"epoch_mac\",outcome=\"ok\"}",
    "bkv_certificate_not_after_timestamp_seconds{kind=\"leaf\"}",
    "bkv_certificate_not_after_timestamp_seconds{kind=\"ca\"}",
    "bkv_vault_epoch_keys",
    "bkv_vault_volume_free_bytes",
    "bkv_vault_volume_size_bytes",
    "bkv_vault_log_fsync_duration_seconds_bucket{le=\"0.1\"}",
    "bkv_vault_elections_total",
    "bkv_vault_clock_skew_seconds",
    "bkv_fleet_bundle_number",
    "bkv_jwks_refreshed_timestamp_seconds",
    "bkv_vault_log_fsync_duration_seconds_count",
    "bkv_vault_keys_destroyed_total{cause=\"deleted\"}",
];

/// Metrics of the vault that led a recovery.
const LEADER: [&str; 3] = [
    "bkv_vault_requests_total{op=\"begin\",outcome=\"ok\"}",
    "bkv_vault_requests_total{op=\"finish\",outcome=\"ok\"}",
    "bkv_vault_request_duration_seconds_bucket{op=\"begin\",le=\"1\"}",
];

const CHATD: [&str; 9] = [
    "bkv_chatd_relays_total",
    "bkv_chatd_connections",
    "bkv_chatd_projection_lag_seconds",
    "bkv_chatd_postgres_up",
    "bkv_fleet_bundle_number",
    "bkv_jwks_refreshed_timestamp_seconds",
    "bkv_certificate_not_after_timestamp_seconds{kind=\"leaf\"}",
    "bkv_certificate_not_after_timestamp_seconds{kind=\"ca\"}",
    "bkv_certificate_not_after_timestamp_seconds{kind=\"web_leaf\"}",
];

#[test]
fn every_metric_of_the_alerts_is_exposed() {
    let fleet = Fleet::up();
    fleet.registered("alice").recover("phone", RIGHT).expect(0);
    let chatd = u16::try_from(fleet.plan()["chatd_health"].as_u64().unwrap()).unwrap();
    let health: Vec<u16> = fleet.regions().iter().map(|r| fleet.port(r, "health")).collect();
    for port in &health {
        for name in VAULT {
            // A follower counts its first HSM operation and its first fsync with its first entry.
            wait(&format!("{name} of the vault on port {port}"), SOON, || metric(*port, name) >= 0);
        }
        assert_eq!(metric(*port, "bkv_vault_epoch_keys"), 1);
        assert!(metric(*port, "bkv_vault_volume_size_bytes") >= metric(*port, "bkv_vault_volume_free_bytes"));
    }
    for name in LEADER {
        assert!(health.iter().any(|p| metric(*p, name) >= 0), "{name}: {}", http(health[0], "/metrics"));
    }
    wait("the database", SOON, || metric(chatd, "bkv_chatd_postgres_up") == 1);
    for name in CHATD {
        assert!(metric(chatd, name) >= 0, "{name} is missing in:\n{}", http(chatd, "/metrics"));
    }
    // All programs of a fleet have the same bundle. Otherwise the alert on a split would never end.
    for port in &health {
        wait("one bundle", SOON, || {
            metric(*port, "bkv_fleet_bundle_number") == metric(chatd, "bkv_fleet_bundle_number")
        });
    }
    // Leadership may move between two scrapes.
    wait("one leader for each shard", SOON, || {
        let leaders: i64 = health.iter().map(|p| metric(*p, "bkv_vault_shards{role=\"leader\"}")).sum();
        leaders == metric(health[0], "bkv_vault_shards_configured")
    });
    // Two alerts on ChatD count requests without a leader.
    for region in fleet.regions() {
        fleet.region("kill", &region);
    }
    let _ = fleet.account("bob").run(&["status"], "asker", None);
    let text = http(chatd, "/metrics");
    let counted = ["no_leader", "connect", "timeout"]
        .iter()
        .any(|r| text.contains(&format!("bkv_chatd_relay_failures_total{{reason=\"{r}\"}}")));
    assert!(counted, "{text}");
}
