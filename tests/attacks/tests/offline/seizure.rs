//! A real run: accounts make right and wrong tries, and the attacker seizes everything. Then keys end in every way, and the attacker seizes it again.

use std::any::Any;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bkv_stack_tests::{Fleet, RIGHT, wait};
use serde_json::Value;
use tempfile::TempDir;

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

/// Copies one stopped fleet: volumes, configuration and PINs as they are.
fn seize(fleet: &Fleet, to: &Path) {
    copy(&fleet.dir().join("regions"), &to.join("regions"));
    fs::copy(fleet.dir().join("root.bin"), to.join("root.bin")).unwrap();
}

/// Prepares the process of one attack: a copy of all that was seized, since opening a store changes it, and the configuration of its SoftHSM.
pub(crate) fn hand_over(seized: &Path, command: &mut Command) -> Box<dyn Any> {
    let dir = TempDir::new().unwrap();
    copy(seized, dir.path());
    let tokens = dir.path().join("tokens").canonicalize().unwrap();
    let conf = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        tokens.display()
    );
    fs::write(dir.path().join("softhsm2.conf"), conf).unwrap();
    command.env("SOFTHSM2_CONF", dir.path().join("softhsm2.conf")).env(crate::seized::VARIABLE, dir.path());
    Box::new(dir)
}

/// (applied, purged) of every shard in every region.
fn logs(fleet: &Fleet) -> Vec<(u64, u64)> {
    let status = fleet.dev(&["status"], &[]).json;
    let regions = status["regions"].as_array().cloned().unwrap_or_default();
    let shards = regions.iter().flat_map(|r| r["shards"].as_array().cloned().unwrap_or_default());
    let number = |s: &Value, name: &str| s[name].as_u64().unwrap_or(0);
    shards.map(|s| (number(&s, "applied"), number(&s, "purged"))).collect()
}

/// Uses a fleet, then seizes it twice: `before` and `after` keys ended. All token directories lie in one, `tokens`, for one SoftHSM.
pub(crate) fn seize_a_real_run() -> TempDir {
    let seized = TempDir::new().unwrap();
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

    seize(&fleet, &seized.path().join("before"));
    copy(&fleet.path("alice-home"), &seized.path().join("alice-home"));

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
    seize(&fleet, &seized.path().join("after"));
    for region in REGIONS {
        copy(&fleet.dir().join("regions").join(region).join("token/tokens"), &seized.path().join("tokens"));
    }
    seized
}
