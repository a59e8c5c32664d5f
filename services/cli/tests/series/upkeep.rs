//! What `bkv verify --repair` does for backups that are there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::world::*;

/// Changes a bit in the middle of an object. Its length stays, so no listing shows it.
fn rot(object: &Path) {
    let mut bytes = fs::read(object).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(object, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(object, &bytes).unwrap();
}

fn largest(world: &World) -> PathBuf {
    world.objects().into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[test]
fn a_repair_lets_the_next_backup_store_damaged_data_again() {
    let world = World::new();
    world.write("large", noise(2 << 20, 3));
    world.write("small", "kept");
    world.backup(&[]);
    rot(&largest(&world));
    let found = world.json(65, &["verify", "cloud"]);
    assert!(found["marked"].is_null() && found["remedy"].as_str().unwrap().contains("--repair"), "{found}");
    // Without the repair the damage goes from generation to generation.
    world.backup(&[]);
    world.ends(65, &["restore", "cloud", "--to", "none"]);
    let marked = world.json(65, &["verify", "cloud", "--repair"]);
    assert_eq!(marked["marked"], 1, "{marked}");
    assert!(marked["remedy"].as_str().unwrap().contains("next backup"), "{marked}");
    let before = files(&world.at("cloud"));
    world.ends(65, &["verify", "cloud", "--repair"]);
    assert_eq!(files(&world.at("cloud")), before, "what is marked already was written again");

    let next = world.backup(&[]);
    assert!(next["new_bytes"].as_u64().unwrap() > 1 << 20, "{next}");
    for number in ["1", "2", "3"] {
        let to = format!("out-{number}");
        world.ok(&["restore", "cloud", "--to", &to, "--generation", number]);
        assert_eq!(tree(&world.at(&to)), tree(&world.at("source")));
    }
    assert_eq!(world.json(0, &["verify", "cloud", "--repair"])["marked"], 0);
    world.ends(2, &["verify", "cloud", "--wait-lock"]);
}

#[test]
fn a_repair_writes_a_ledger_anew_that_has_lost_a_copy() {
    let world = World::new();
    world.write("file", "x");
    world.backup(&[]);
    let copies: Vec<PathBuf> =
        files(&world.at("cloud")).into_iter().filter(|f| f.to_string_lossy().contains("/ledgers/")).collect();
    fs::remove_file(&copies[1]).unwrap();
    let text = world.ends(65, &["verify", "cloud", "--repair"]);
    assert!(text.contains("written anew"), "{text}");
    world.ok(&["verify", "cloud"]);
}

/// A device writes its own ledger only.
#[test]
fn a_repair_by_another_device_says_who_can_do_it() {
    let world = World::new();
    world.write("large", noise(2 << 20, 3));
    world.backup(&[]);
    rot(&largest(&world));
    let digits = world.ok(&["key", "show", "--plain", "--quiet"]);
    fs::write(world.at("digits"), digits.lines().next().unwrap()).unwrap();
    world.ok(&["key", "enter", "--key-file", "digits", "--state", "tablet"]);
    let before = files(&world.at("cloud"));
    let found = world.json(65, &["verify", "cloud", "--repair", "--state", "tablet"]);
    assert_eq!(found["marked"], 0, "{found}");
    assert!(found["remedy"].as_str().unwrap().contains("only the device that made them"), "{found}");
    assert_eq!(files(&world.at("cloud")), before);
    assert!(!world.at("tablet/writers").exists(), "a repair made a writer");
}
