//! Several devices and copied states at one destination.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::world::*;

/// B1 and B18: two devices of one key in one folder.
#[test]
fn two_devices_share_a_destination_and_neither_disturbs_the_other() {
    let world = World::new();
    let digits = world.ok(&["key", "show", "--plain", "--quiet"]);
    fs::write(world.at("digits"), digits.lines().next().unwrap()).unwrap();
    world.ok(&["key", "enter", "--key-file", "digits", "--state", "tablet"]);
    world.write("file", "of the phone");
    world.backup(&[]);
    fs::create_dir(world.at("other")).unwrap();
    fs::write(world.at("other/file"), "of the tablet").unwrap();
    let tablet = ["backup", "other", "--to", "cloud", "--name", "docs", "--state", "tablet"];
    let made = world.json(0, &tablet);
    assert_eq!(made["generation"], 1);
    world.write("file", "of the phone, later");
    world.backup(&[]);
    let list = world.json(0, &["backups", "cloud"]);
    assert_eq!(list["writers"].as_array().unwrap().len(), 2, "{list}");
    let own: Vec<bool> =
        list["writers"].as_array().unwrap().iter().map(|w| w["this_device"] == true).collect();
    assert_eq!(own.iter().filter(|own| **own).count(), 1);
    let text = world.ends(66, &["restore", "cloud", "--to", "none"]);
    assert!(text.contains("several series") && text.contains(made["writer"].as_str().unwrap()), "{text}");
    let writer = &made["writer"].as_str().unwrap()[..8];
    let text = world.ok(&["restore", "cloud", "--to", "theirs", "--writer", writer]);
    assert!(
        text.contains("if an older one is served"),
        "nothing is known of another device's newest: {text}"
    );
    assert_eq!(fs::read(world.at("theirs/file")).unwrap(), b"of the tablet");
    world.ends(66, &["restore", "cloud", "--to", "none", "--writer", "ffffffffffff"]);
    // A new device with nothing but the digits.
    world.ok(&["key", "enter", "--key-file", "digits", "--state", "new"]);
    world.ok(&[
        "restore",
        "cloud",
        "--to",
        "mine",
        "--state",
        "new",
        "--series",
        "docs",
        "--writer",
        list["writers"][usize::from(!own[0])]["writer"].as_str().unwrap(),
    ]);
    assert_eq!(fs::read(world.at("mine/file")).unwrap(), b"of the phone, later");
    // Another key sees that there are others' backups, and none of its own.
    world.ok(&["key", "new", "--state", "stranger"]);
    let text = world.ends(15, &["backups", "cloud", "--state", "stranger"]);
    assert!(text.contains("1 of other accounts or keys"), "{text}");
    world.ends(15, &["restore", "cloud", "--to", "none", "--state", "stranger"]);
    assert!(!world.at("none").exists());
}

/// K8: a copied state would continue one history twice.
#[test]
fn a_copied_state_becomes_a_new_writer_with_a_word() {
    let world = World::new();
    world.write("file", "one");
    world.backup(&[]);
    assert!(
        Command::new("cp").arg("-a").arg(world.at("state")).arg(world.at("copy")).status().unwrap().success()
    );
    world.write("file", "two");
    world.backup(&[]);
    let copy = ["backup", "source", "--to", "cloud", "--name", "docs", "--state", "copy"];
    let output = world.command(&copy).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert!(shown(&output).contains("Never copy a state folder"), "{}", shown(&output));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&made["new_writer"], &made["generation"]), (&true.into(), &1.into()));
    let list = world.json(0, &["backups", "cloud"]);
    assert_eq!(list["writers"].as_array().unwrap().len(), 2, "{list}");
    assert_eq!(world.backup(&[])["generation"], 3);
}

/// S29: whoever keeps the destination shows it as it was.
#[test]
fn s29_an_older_copy_of_the_destination_is_noticed_and_an_emptied_one_can_be_begun_anew() {
    let world = World::new();
    let copy = |from: &str, to: &str| {
        let (from, to) = (world.at(from), world.at(to));
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    };
    world.write("file", "one");
    world.backup(&[]);
    copy("cloud", "earlier");
    world.write("file", "two");
    world.backup(&[]);
    fs::rename(world.at("cloud"), world.at("newest")).unwrap();
    copy("earlier", "cloud");
    let text = world.ends(65, &["restore", "cloud", "--to", "out"]);
    assert!(text.contains("older copy of the destination"), "{text}");
    assert!(!world.at("out").exists());
    world.ok(&["restore", "cloud", "--to", "out", "--allow-older"]);
    assert_eq!(fs::read(world.at("out/file")).unwrap(), b"one");
    let list = world.json(0, &["backups", "cloud"]);
    assert_eq!(list["writers"][0]["standing"], "older", "{list}");
    world.ends(65, &["backup", "source", "--to", "cloud", "--name", "docs"]);
    fs::remove_dir_all(world.at("cloud")).unwrap();
    fs::create_dir(world.at("cloud")).unwrap();
    let text = world.ends(65, &["backup", "source", "--to", "cloud", "--name", "docs"]);
    assert!(text.contains("--new-writer"), "{text}");
    assert_eq!(world.backup(&["--new-writer"])["generation"], 1);
    // A disk under another path is the same destination.
    fs::rename(world.at("cloud"), world.at("moved")).unwrap();
    let moved = world.json(0, &["backup", "source", "--to", "moved", "--name", "docs"]);
    assert_eq!(moved["generation"], 2);
}

/// A disk that is not plugged in looks as one that was moved. Only a backup goes on at its copy, and reports that.
#[test]
fn at_a_copy_only_a_backup_takes_the_history_from_a_place_that_is_away() {
    let world = World::new();
    world.write("file", "one");
    assert_eq!(world.backup(&[])["new_writer"], true);
    let copy = Command::new("cp").arg("-a").arg(world.at("cloud")).arg(world.at("copy")).status();
    assert!(copy.unwrap().success());
    fs::rename(world.at("cloud"), world.at("away")).unwrap();
    let at_copy = ["backup", "source", "--to", "copy", "--name", "docs"];
    let dry = world.json(0, &[&at_copy[..], &["--dry-run"]].concat());
    assert_eq!((&dry["generation"], &dry["moved_from"]), (&2.into(), &Value::Null), "{dry}");
    let text = world.ends(66, &["prune", "copy", "--keep-last", "1"]);
    assert!(text.contains("make a backup here first"), "{text}");
    world.ok(&["verify", "copy", "--repair"]);
    fs::rename(world.at("away"), world.at("cloud")).unwrap();
    let made = world.backup(&[]);
    assert_eq!((&made["generation"], &made["new_writer"]), (&2.into(), &false.into()), "{made}");

    fs::rename(world.at("cloud"), world.at("moved")).unwrap();
    let moved = ["backup", "source", "--to", "moved", "--name", "docs"];
    let output = world.command(&moved).arg("--json").output().unwrap();
    assert!(shown(&output).contains("goes on here"), "{}", shown(&output));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(made["moved_from"].as_str().unwrap().ends_with("cloud"), "{made}");
    world.ok(&["prune", "moved", "--keep-last", "1"]);
}
