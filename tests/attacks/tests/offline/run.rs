//! The real run: accounts with good and bad tries, then everything is seized; then keys end in every way, and everything is seized again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bkv_stack_tests::{Fleet, RIGHT, contains, files, wait};
use serde_json::Value;

use crate::dictionary::{PASSWORD, WRONG};
use crate::seized::REGIONS;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (path, at) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy(&path, &at);
        } else if entry.file_type().unwrap().is_file() {
            fs::copy(&path, &at).unwrap();
        }
    }
}

/// Volumes, configuration, PINs as they are, and all token directories in one, for one SoftHSM.
fn seize(fleet: &Fleet, name: &str) -> PathBuf {
    let to = fleet.path(name);
    copy(&fleet.dir().join("regions"), &to.join("regions"));
    fs::copy(fleet.dir().join("root.bin"), to.join("root.bin")).unwrap();
    for region in REGIONS {
        copy(&fleet.dir().join("regions").join(region).join("token/tokens"), &to.join("tokens"));
    }
    let tokens = to.join("tokens").canonicalize().unwrap();
    let conf = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        tokens.display()
    );
    fs::write(to.join("softhsm2.conf"), conf).unwrap();
    to
}

/// This program again, as the attacker on what was seized.
fn attack(seized: &Path, tests: &[&str]) {
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--test-threads=1"])
        .args(tests)
        .env("SOFTHSM2_CONF", seized.join("softhsm2.conf"))
        .env(crate::seized::VARIABLE, seized)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    for test in tests {
        assert!(said.contains(&format!("test {test} ... ok")), "{test} did not run: {said}");
    }
}

/// (applied, purged) of every shard in every region.
fn logs(fleet: &Fleet) -> Vec<(u64, u64)> {
    let status = fleet.dev(&["status"], &[]).json;
    let regions = status["regions"].as_array().cloned().unwrap_or_default();
    let shards = regions.iter().flat_map(|r| r["shards"].as_array().cloned().unwrap_or_default());
    let number = |s: &Value, name: &str| s[name].as_u64().unwrap_or(0);
    shards.map(|s| (number(&s, "applied"), number(&s, "purged"))).collect()
}

#[test]
fn attacks_on_a_real_run() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let alice = fleet.account("alice");
    alice.run(&["register"], "home", Some(PASSWORD)).expect(0);
    for _ in 0..2 {
        for wrong in WRONG {
            alice.recover("thief", wrong).expect(10);
        }
        alice.recover("phone", PASSWORD).expect(0);
    }
    alice.recover("thief", WRONG[0]).expect(10);
    let (bob, carol, dave) = (fleet.registered("bob"), fleet.registered("carol"), fleet.registered("dave"));
    carol.recover("phone", RIGHT).expect(0);
    bob.recover("thief", WRONG[0]).expect(10);
    fleet.dev(&["down"], &[]).expect(0);

    let before = seize(&fleet, "before");
    attack(
        &before,
        &[
            "dictionary::s39_everything_of_one_region_tests_no_password",
            "dictionary::s39_with_two_regions_the_same_dictionary_finds_it",
            "proofs::s42_a_real_runs_log_seeds_and_proofs_give_no_share",
            "shares::s44_a_sealed_share_opens_for_its_record_and_region_only",
            "remains::s25_a_row_opens_in_no_other_vaults_store",
            "remains::s14_note_what_is_to_end",
        ],
    );
    // What came out of two regions is really alice's: her own device has the same key.
    let found = fs::read_to_string(before.join("found")).unwrap();
    let home = files(&fleet.path("alice-home"));
    assert!(home.iter().any(|f| contains(&fs::read(f).unwrap(), found.as_bytes())), "another key: {found}");

    // Keys end: by exhaustion, by a new registration over the old, by deletion. The log's bound is made short, so that the test need not wait for it.
    for region in REGIONS {
        let path = fleet.dir().join("regions").join(region).join("vault.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text + "\n[raft]\nsnapshot_every_s = 1\n").unwrap();
    }
    fleet.dev(&["up"], &["--no-postgres"]).expect(0);
    let ended = (0..10).map(|_| bob.recover("thief", WRONG[0]).code).find(|code| *code != 10);
    assert_eq!(ended, Some(12));
    let new = fleet.path("carol.new");
    fs::write(&new, "another otter paints the south door").unwrap();
    carol
        .run(&["password", "change", "--new-password-file", new.to_str().unwrap()], "home", Some(RIGHT))
        .expect(0);
    dave.run(&["delete", "--yes"], "home", None).expect(0);
    let applied: Vec<u64> = logs(&fleet).iter().map(|l| l.0).collect();
    assert_eq!(applied.len(), 3 * 4);
    wait("logs without what ended", Duration::from_mins(1), || {
        let now = logs(&fleet);
        now.len() == applied.len() && now.iter().zip(&applied).all(|(l, a)| l.1 >= *a)
    });
    fleet.dev(&["down"], &[]).expect(0);
    let after = seize(&fleet, "after");
    fs::copy(before.join("to-end.json"), after.join("to-end.json")).unwrap();
    attack(&after, &["remains::s13_s14_nothing_of_what_ended_is_in_any_live_row"]);
}
