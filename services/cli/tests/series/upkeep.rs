//! What `bkv verify --repair` and `bkv copy` do for backups that are there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

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
    let state = files(&world.at("state/writers")).into_iter().find(|f| f.ends_with("state.lock")).unwrap();
    let lock = fs::File::options().write(true).open(state).unwrap();
    lock.lock().unwrap();
    // What was found is told although a backup runs.
    let busy = world.json(65, &["verify", "cloud", "--repair"]);
    assert_eq!((busy["broken"].as_array().unwrap().len(), &busy["marked"]), (1, &serde_json::Value::Null));
    assert!(busy["remedy"].as_str().unwrap().contains("another backup"), "{busy}");
    assert!(busy["not_marked"].as_str().unwrap().contains("another backup"), "{busy}");
    drop(lock);
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

/// Which data a damaged generation needs is not known, so it stops the rules. By its number it goes.
#[test]
fn a_damaged_generation_goes_by_its_number() {
    let world = World::new();
    world.write("file", "x");
    world.backup(&[]);
    let first = world.objects();
    world.backup(&[]);
    let second: Vec<PathBuf> = world.objects().into_iter().filter(|o| !first.contains(o)).collect();
    world.backup(&[]);
    for object in &second {
        rot(object);
    }
    world.ends(65, &["prune", "cloud", "--keep-last", "2"]);
    assert!(world.ends(66, &["prune", "cloud", "--drop", "7"]).contains("no generation 7"));
    assert!(world.ends(2, &["prune", "cloud", "--drop", "3"]).contains("never pruned"));
    world.ends(2, &["prune", "cloud", "--drop", "2", "--keep-last", "1"]);
    let dry = world.json(0, &["prune", "cloud", "--drop", "2", "--dry-run"]);
    assert_eq!((dry["condemned"].as_array().unwrap().len(), &dry["stay"]), (1, &2.into()), "{dry}");
    let text = world.ok(&["prune", "cloud", "--drop", "2", "--drop", "2"]);
    assert!(text.contains("condemned: generation 2 of 'docs'") && text.contains("2 stay"), "{text}");
    world.ok(&["prune", "cloud", "--keep-last", "1"]);
    world.ok(&["verify", "cloud"]);
    world.ok(&["backup", "source", "--to", "cloud", "--form", "series", "--name", "more"]);
    assert!(world.ends(2, &["prune", "cloud", "--drop", "1"]).contains("--series"));
}

/// The names and bytes of everything at a destination.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let found = files(folder).into_iter();
    found.map(|f| (f.strip_prefix(folder).unwrap().to_owned(), fs::read(&f).unwrap())).collect()
}

#[test]
fn a_copy_has_all_devices_backups_and_takes_only_what_is_new() {
    let world = World::new();
    let digits = world.ok(&["key", "show", "--plain", "--quiet"]);
    fs::write(world.at("digits"), digits.lines().next().unwrap()).unwrap();
    world.ok(&["key", "enter", "--key-file", "digits", "--state", "tablet"]);
    world.write("large", noise(2 << 20, 5));
    world.backup(&[]);
    let tablet = ["backup", "source", "--to", "cloud", "--name", "other", "--state", "tablet"];
    let tablet = world.json(0, &tablet);
    fs::create_dir(world.at("second")).unwrap();
    let copy = ["copy", "cloud", "--to", "second"];
    let one = world.json(0, &[&copy[..], &["--writer", tablet["writer"].as_str().unwrap()]].concat());
    assert_eq!(one["writers"].as_array().unwrap().len(), 1, "{one}");
    let all = world.json(0, &copy);
    let written: Vec<u64> =
        all["writers"].as_array().unwrap().iter().map(|w| w["bytes"].as_u64().unwrap()).collect();
    assert!(written.len() == 2 && written.iter().filter(|n| **n > 2 << 20).count() == 1, "{all}");
    assert_eq!(content(&world.at("second")), content(&world.at("cloud")));

    // Later only what is new, and the copy is as good as the original.
    world.write("new", "new");
    world.backup(&[]);
    let text = world.ok(&copy);
    assert!(text.contains("2 of 2 generations") && text.contains("there already"), "{text}");
    assert_eq!(content(&world.at("second")), content(&world.at("cloud")));
    world.ends(66, &["prune", "second", "--keep-last", "1"]);
    fs::rename(world.at("cloud"), world.at("lost")).unwrap();
    world.ok(&["verify", "second", "--state", "tablet"]);
    world.ok(&["restore", "second", "--to", "out", "--series", "docs", "--state", "tablet"]);
    assert_eq!(tree(&world.at("out")), tree(&world.at("source")));

    // The device goes on there.
    let next = world.json(0, &["backup", "source", "--to", "second", "--form", "series", "--name", "docs"]);
    assert_eq!((&next["generation"], &next["new_writer"]), (&3.into(), &false.into()), "{next}");

    world.ends(2, &["copy", "second", "--to", "second"]);
    world.ends(73, &["copy", "second", "--to", "absent"]);
    world.ends(66, &["copy", "second", "--to", "lost", "--writer", "none"]);
    fs::create_dir(world.at("empty")).unwrap();
    world.ends(66, &["copy", "empty", "--to", "lost"]);
}

/// Damage does not spread, and a copy that was killed goes on.
#[test]
fn a_copy_leaves_damage_out_and_ends_with_3() {
    let world = World::new();
    world.write("large", noise(2 << 20, 3));
    world.write("small", "kept");
    world.backup(&[]);
    fs::create_dir(world.at("second")).unwrap();
    let object = largest(&world);
    rot(&object);
    let copied = world.json(3, &["copy", "cloud", "--to", "second"]);
    let writer = &copied["writers"][0];
    assert_eq!((&writer["generations"], &writer["kept"]), (&0.into(), &1.into()), "{copied}");
    let name = object.strip_prefix(world.at("cloud")).unwrap();
    assert_eq!(writer["broken"][0]["object"], name.to_str().unwrap(), "{copied}");
    assert!(!world.at("second").join(name).exists(), "damage was copied");
    rot(&object);
    world.ok(&["copy", "cloud", "--to", "second"]);
    world.ok(&["verify", "second"]);
}

#[test]
fn a_copy_that_is_killed_goes_on_at_its_next_run() {
    let world = World::new();
    for n in 0..24 {
        world.write(&format!("large-{n}"), noise(2 << 20, n + 7));
    }
    world.backup(&[]);
    fs::create_dir(world.at("second")).unwrap();
    let args = ["copy", "cloud", "--to", "second", "--quiet"];
    let mut killed = world.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while files(&world.at("second")).is_empty() {
        assert!(killed.try_wait().unwrap().is_none(), "it ended before it could be killed");
        std::thread::yield_now();
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let all = files(&world.at("cloud")).len();
    let there = files(&world.at("second")).len();
    assert!(there < all, "it was not killed in the middle");
    // There is no ledger, so the copy shows no backup yet, and never a part of one.
    world.ends(65, &["restore", "second", "--to", "none"]);
    let copied = world.json(0, &["copy", "cloud", "--to", "second"]);
    assert!(copied["writers"][0]["blobs_there"].as_u64().unwrap() > 0, "{copied}");
    assert_eq!(content(&world.at("second")), content(&world.at("cloud")));
    world.ok(&["restore", "second", "--to", "out"]);
    assert_eq!(tree(&world.at("out")), tree(&world.at("source")));
}
