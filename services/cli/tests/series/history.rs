//! Generations of one device: lists, restores, damage, prunes, kills.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::Value;

use super::world::*;

#[test]
fn two_generations_are_listed_read_compared_and_restored() {
    let world = World::new();
    world.write("letters/june.txt", "first");
    world.write("letters/july.txt", "stays");
    world.write("film.bin", noise(3 << 20, 1));
    std::os::unix::fs::symlink("july.txt", world.at("source/letters/link")).unwrap();
    let before = tree(&world.at("source"));
    let first = world.backup(&[]);
    assert_eq!(
        (&first["generation"], &first["files"], &first["complete"]),
        (&1.into(), &3.into(), &true.into())
    );
    world.write("letters/june.txt", "second time");
    world.write("new.txt", "new");
    fs::remove_file(world.at("source/film.bin")).unwrap();
    let second = world.backup(&["--tag", "summer"]);
    assert!(second["new_bytes"].as_u64().unwrap() < 1 << 20, "all of it was stored again: {second}");

    let list = world.json(0, &["backups", "cloud"]);
    let writer = &list["writers"][0];
    assert_eq!((&writer["this_device"], &writer["standing"]), (&true.into(), &"named".into()), "{list}");
    let generations = writer["series"][0]["generations"].as_array().unwrap();
    assert_eq!(generations.len(), 2);
    assert_eq!(generations[1]["tags"][0], "summer");
    let text = world.ok(&["snapshots", "cloud"]);
    for part in ["docs", "complete", "this device", "series", "new"] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }

    assert_eq!(
        world.ok(&["ls", "cloud"]),
        "letters/\nletters/july.txt\nletters/june.txt\nletters/link\nnew.txt\n"
    );
    let old = world.ok(&["ls", "cloud", "--generation", "1", "--long", "letters", "film.bin"]);
    assert!(old.contains("3145728") && old.contains("letters/link -> july.txt"), "{old}");
    assert!(!old.contains("new.txt"), "{old}");
    world.ends(66, &["ls", "cloud", "film.bin"]);

    assert_eq!(world.ok(&["cat", "cloud", "letters/june.txt"]), "second time");
    assert_eq!(world.ok(&["cat", "cloud", "letters/june.txt", "--generation", "1"]), "first");
    let film = world.run(&["cat", "cloud", "/film.bin", "--generation", "1"]);
    assert_eq!(film.stdout, noise(3 << 20, 1));
    assert!(world.ends(66, &["cat", "cloud", "film.bin"]).contains("bkv find"));
    world.ends(2, &["cat", "cloud"]);

    let found = world.json(0, &["find", "cloud", "*.bin", "june*"]);
    let generations: Vec<&Value> =
        found["found"].as_array().unwrap().iter().map(|f| &f["generations"]).collect();
    assert_eq!(generations, [&serde_json::json!([1]), &serde_json::json!([1, 2])]);
    assert!(world.ok(&["find", "cloud", "june*"]).contains("1-2"));
    world.ends(66, &["find", "cloud", "nothing"]);

    let text = world.ok(&["diff", "cloud", "1", "latest"]);
    for line in
        ["- film.bin", "M letters/june.txt", "+ new.txt", "1 entry added, 1 entry removed, 1 file changed"]
    {
        assert!(text.contains(line), "no `{line}` in {text}");
    }
    assert!(!text.contains("july"), "{text}");

    world.ok(&["restore", "cloud", "--to", "out", "--generation", "1"]);
    assert_eq!(tree(&world.at("out")), before);
    // The newest, into an empty folder that is there already.
    fs::create_dir(world.at("here")).unwrap();
    let restored = world.json(0, &["restore", "cloud", "--to", "here"]);
    assert_eq!((&restored["generation"], &restored["files"]), (&2.into(), &3.into()), "{restored}");
    assert_eq!(tree(&world.at("here")), tree(&world.at("source")));
    world.ends(73, &["restore", "cloud", "--to", "here"]);
    world.ok(&["restore", "cloud", "--to", "part", "--include", "letters/*.txt"]);
    assert_eq!(files(&world.at("part")).len(), 2);
    assert!(
        world.ends(66, &["restore", "cloud", "--to", "none", "--include", "*.xyz"]).contains("--include")
    );
    world.ends(66, &["restore", "cloud", "--to", "none", "--generation", "7"]);
    world.ends(66, &["restore", "cloud", "--to", "none", "--at", "1999-12-31"]);
    world.ends(66, &["restore", "cloud", "--to", "none", "--series", "other"]);
    assert!(!world.at("none").exists());
    let all = world.json(0, &["verify", "cloud"]);
    assert_eq!((&all["generations"], all["broken"].as_array().unwrap().len()), (&2.into(), 0));
}

/// Nothing of a damaged file appears, and the object is named.
#[test]
fn a_damaged_object_is_named_and_the_rest_can_be_saved() {
    let world = World::new();
    world.write("large", noise(2 << 20, 3));
    world.write("small", "kept");
    world.backup(&[]);
    let largest = world.objects().into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(&largest, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&largest, &bytes).unwrap();
    let object = largest.strip_prefix(world.at("cloud")).unwrap().to_str().unwrap().to_owned();
    let verified = world.json(65, &["verify", "cloud"]);
    assert_eq!(verified["broken"][0]["object"], object.as_str(), "{verified}");
    assert!(world.ends(65, &["verify", "cloud"]).contains(&object));
    assert!(world.ends(65, &["restore", "cloud", "--to", "out"]).contains(&object));
    assert!(!world.at("out").exists());
    let kept = world.json(3, &["restore", "cloud", "--to", "out", "--keep-going"]);
    assert_eq!(kept["failed"].as_array().unwrap().len(), 1, "{kept}");
    assert_eq!(fs::read(world.at("out/small")).unwrap(), b"kept");
    assert!(!world.at("out/large").exists());
    // A sync that has not finished is no damage.
    fs::remove_file(&largest).unwrap();
    let text = world.ends(65, &["restore", "cloud", "--to", "later"]);
    assert!(text.contains("not all of this backup is here") && text.contains(&object), "{text}");
    world.ends(65, &["verify", "cloud"]);
}

#[test]
fn prune_condemns_what_no_rule_keeps_and_takes_it_back() {
    let world = World::new();
    for n in 0..4_u8 {
        world.write("file", [n]);
        world.backup(&[]);
    }
    assert!(world.ends(2, &["prune", "cloud"]).contains("--keep-daily"));
    let dry = world.json(0, &["prune", "cloud", "--keep-last", "2", "--dry-run"]);
    assert_eq!((dry["condemned"].as_array().unwrap().len(), &dry["stay"]), (2, &2.into()), "{dry}");
    let numbers = |world: &World| -> Vec<(u64, bool)> {
        let list = world.json(0, &["backups", "cloud"]);
        let all = list["writers"][0]["series"][0]["generations"].as_array().unwrap().clone();
        all.iter().map(|g| (g["generation"].as_u64().unwrap(), g["condemned_since_ms"].is_null())).collect()
    };
    assert_eq!(numbers(&world), [(1, true), (2, true), (3, true), (4, true)]);
    let objects = world.objects();
    let text = world.ok(&["prune", "cloud", "--keep-last", "2"]);
    assert!(text.contains("condemned: generation 1 of 'docs'") && text.contains("7 days"), "{text}");
    assert_eq!(numbers(&world), [(3, true), (4, true), (1, false), (2, false)]);
    assert_eq!(world.objects(), objects, "data was deleted at once");
    world.ends(66, &["restore", "cloud", "--to", "none", "--generation", "1"]);
    assert_eq!(world.json(0, &["prune", "cloud", "--undo"])["undone"], 2);
    world.ok(&["restore", "cloud", "--to", "out", "--generation", "1"]);
    assert_eq!(fs::read(world.at("out/file")).unwrap(), [0]);
    // Another device, or a place without backups of this one.
    fs::create_dir(world.at("empty")).unwrap();
    world.ends(66, &["prune", "empty", "--keep-last", "1"]);
    world.ends(66, &["prune", "cloud", "--keep-last", "1", "--series", "other"]);
}

#[test]
fn a_backup_that_is_killed_leaves_the_last_one_whole_and_the_next_one_ends_well() {
    let world = World::new();
    world.write("first", "whole");
    world.backup(&[]);
    let before = world.objects().len();
    for n in 0..24 {
        world.write(&format!("large-{n}"), noise(2 << 20, n + 7));
    }
    let args = ["backup", "source", "--to", "cloud", "--name", "docs", "--quiet"];
    let mut killed = world.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while world.objects().len() == before {
        assert!(killed.try_wait().unwrap().is_none(), "it ended before it could be killed");
        std::thread::yield_now();
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    world.ok(&["restore", "cloud", "--to", "out"]);
    assert_eq!(files(&world.at("out")).len(), 1);
    let next = world.backup(&[]);
    assert_eq!((&next["generation"], &next["files"]), (&2.into(), &25.into()), "{next}");
    world.ok(&["restore", "cloud", "--to", "all"]);
    assert_eq!(tree(&world.at("all")), tree(&world.at("source")));
    world.ok(&["verify", "cloud"]);
}

/// S29 for series: one backup of a writer at a time.
#[test]
fn a_second_backup_at_the_same_time_is_refused_or_waits() {
    let world = World::new();
    world.write("file", "x");
    world.backup(&[]);
    let state = files(&world.at("state/writers")).into_iter().find(|f| f.ends_with("state.lock")).unwrap();
    let lock = fs::File::options().write(true).open(state).unwrap();
    lock.lock().unwrap();
    let args = ["backup", "source", "--to", "cloud", "--name", "docs"];
    let refused = world.ends(11, &args);
    assert!(refused.contains("another backup") && refused.contains("--wait-lock"), "{refused}");
    world.ends(11, &["prune", "cloud", "--keep-last", "1"]);
    // A reader needs no lock.
    world.ok(&["ls", "cloud"]);
    let waiting = world.command(&args).arg("--wait-lock").stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut waiting = waiting.unwrap();
    drop(lock);
    assert!(waiting.wait().unwrap().success());
    assert_eq!(
        world.json(0, &["backups", "cloud"])["writers"][0]["series"][0]["generations"][1]["generation"],
        2
    );
}

/// Cron jobs that begin at the same moment, from the very first backup on: what ends with 0 is there, and what is refused is not.
#[test]
fn backups_that_begin_at_once_make_one_history() {
    let world = World::new();
    world.write("file", noise(4 << 20, 5));
    let names: Vec<String> = (0..6).map(|n| format!("series{n}")).collect();
    let running: Vec<_> = names
        .iter()
        .map(|name| {
            let args = ["backup", "source", "--to", "cloud", "--name", name, "--json"];
            world.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let mut made = Vec::new();
    for (name, child) in names.iter().zip(running) {
        let ended = child.wait_with_output().unwrap();
        match ended.status.code() {
            Some(0) => made.push(name.as_str()),
            Some(11) => {}
            other => panic!("{other:?}: {}", shown(&ended)),
        }
    }
    let list = world.json(0, &["backups", "cloud"]);
    let writers = list["writers"].as_array().unwrap();
    assert_eq!(writers.len(), 1, "{list}");
    let mut listed: Vec<&str> =
        writers[0]["series"].as_array().unwrap().iter().map(|s| s["label"].as_str().unwrap()).collect();
    listed.sort_unstable();
    assert!(!made.is_empty());
    assert_eq!(listed, made);
}

/// A disk that can't read an object is damage: `verify` ends with 65, and a repair marks it. A link in the place of a file is such an error.
#[test]
fn an_object_that_the_disk_does_not_read_is_damage() {
    let world = World::new();
    world.write("large", noise(3 << 20, 6));
    world.backup(&[]);
    let is_large = |path: &std::path::PathBuf| fs::metadata(path).unwrap().len() > 2 << 20;
    let object = world.objects().into_iter().find(is_large).unwrap();
    fs::rename(&object, world.at("kept")).unwrap();
    std::os::unix::fs::symlink(world.at("kept"), &object).unwrap();
    let found = world.json(65, &["verify", "cloud", "--repair"]);
    assert_eq!(found["marked"], 1, "{found}");
    assert_eq!(found["writers"][0]["standing"], "named", "{found}");
    assert_eq!(world.backup(&[])["generation"], 2);
    world.ok(&["restore", "cloud", "--to", "out"]);
    assert_eq!(tree(&world.at("out")), tree(&world.at("source")));
}
