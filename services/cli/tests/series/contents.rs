//! What a backup holds, leaves out, and can't write.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::Command;

use super::world::*;

#[test]
fn what_is_left_out_is_what_was_said_and_never_the_state_or_the_backups() {
    let world = World::new();
    for name in
        ["a.txt", "b.tmp", "C.BAK", "cache/x", "marked/.nobackup", "marked/y", "tagged/z", "sub/deep/b.tmp"]
    {
        world.write(name, "content");
    }
    world.write("tagged/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    world.write("large", vec![7; 4096]);
    fs::write(world.at("rules"), "# rules\ncache/\n").unwrap();
    let options = [
        "--exclude",
        "*.tmp",
        "--iexclude",
        "*.bak",
        "--exclude-from",
        "rules",
        "--exclude-if-present",
        ".nobackup",
        "--exclude-caches",
        "--exclude-larger-than",
        "2k",
        "--one-file-system",
    ];
    let dry = world.backup(&[&options[..], &["--dry-run"]].concat());
    assert_eq!((&dry["files"], &dry["dry_run"]), (&1.into(), &true.into()), "{dry}");
    assert!(dry["new_bytes"].as_u64().unwrap() > 0);
    assert_eq!(files(&world.at("cloud")), [] as [PathBuf; 0], "a dry run wrote something");
    assert_eq!(world.backup(&options)["generation"], 1, "a dry run took a number");
    assert_eq!(world.ok(&["ls", "cloud"]), "a.txt\nsub/\nsub/deep/\n");

    // The world's own folder has the state and the backups in it.
    let all = ["backup", ".", "--to", "cloud"];
    let made = world.json(0, &all);
    let label = made["series"].as_str().unwrap().to_owned();
    assert!(label.ends_with(world.root().canonicalize().unwrap().to_str().unwrap()), "{label}");
    let skipped = made["skipped"].to_string();
    assert!(skipped.contains("state") && skipped.contains("bkv-"), "{skipped}");
    let listed = world.ok(&["ls", "cloud", "--series", &label]);
    assert!(
        listed.contains("source/a.txt") && !listed.contains("device.json") && !listed.contains("ledgers"),
        "{listed}"
    );
    // By the same path from elsewhere it is the same series.
    let again = world
        .command(&["backup", "..", "--to", "../cloud", "--json"])
        .current_dir(world.at("source"))
        .output();
    assert!(again.unwrap().status.success());

    // Several sources need a name, and another set is refused.
    world.ends(2, &["backup", "source", "cloud", "--to", "cloud"]);
    fs::create_dir(world.at("more")).unwrap();
    fs::write(world.at("more/m"), "m").unwrap();
    world.ok(&["backup", "source", "more", "--to", "cloud", "--name", "both"]);
    assert_eq!(world.ok(&["cat", "cloud", "more/m", "--series", "both"]), "m");
    let text = world.ends(66, &["backup", "more", "--to", "cloud", "--name", "both"]);
    assert!(text.contains("other sources"), "{text}");
    // An unmounted disk.
    fs::remove_dir_all(world.at("more")).unwrap();
    fs::create_dir(world.at("more")).unwrap();
    let only = ["backup", "more", "--to", "cloud", "--name", "disk"];
    world.ok(&only);
    fs::write(world.at("more/m"), "m").unwrap();
    world.ok(&only);
    fs::remove_file(world.at("more/m")).unwrap();
    assert!(world.ends(66, &only).contains("mounted"));
    world.ok(&[&only[..], &["--allow-empty"]].concat());
    world.ends(66, &["backup", "absent", "--to", "cloud"]);
    world.ends(66, &["backup", "rules", "--to", "cloud"]);
    world.ends(2, &[&only[..], &["--exclude", "a**"]].concat());
}

/// Folders in each other below the source.
fn nest(world: &World, name: &str, depth: usize) {
    let script = format!(
        "import os\nos.chdir('source')\nfor i in range({depth}):\n os.mkdir('{name}')\n os.chdir('{name}')\nopen('end','w').write('deep')"
    );
    let made = Command::new("python3").args(["-c", &script]).current_dir(world.root()).status();
    assert!(made.unwrap().success());
}

/// A path that is longer than the system takes can't be read, by root neither.
#[test]
fn a_backup_without_some_files_is_made_and_ends_with_3() {
    let world = World::new();
    world.write("good", "kept");
    nest(&world, &"n".repeat(250), 20);
    let args = ["backup", "source", "--to", "cloud", "--name", "docs"];
    let made = world.json(3, &args);
    let is = (&made["complete"], &made["error"], &made["generation"]);
    assert_eq!(is, (&false.into(), &"incomplete".into(), &1.into()), "{made}");
    let skipped = &made["skipped"][0];
    assert!(skipped["path"].as_str().unwrap().contains("nnn") && skipped["failed"] == true, "{made}");
    let text = world.ends(3, &args);
    assert!(text.contains("generation 2 of 'docs'") && text.contains("could not be kept"), "{text}");
    assert!(world.ok(&["backups", "cloud"]).contains("incomplete"));
    assert_eq!(world.ok(&["cat", "cloud", "good"]), "kept");
    // Whoever restores it is told.
    let restore = |to| ["restore", "cloud", "--include", "good", "--to", to];
    assert_eq!(world.json(0, &restore("out"))["complete"], false);
    assert!(world.ok(&restore("again")).contains("Generation 2 is incomplete"));
}

#[test]
fn deep_trees_and_strange_names_come_back() {
    let world = World::new();
    let strange = OsStr::from_bytes(b"\xff\x1b]0;pwned\x07\n\xe2\x80\xaetxt");
    fs::write(world.at("source").join(strange), "strange").unwrap();
    nest(&world, "a", 1100);
    world.backup(&[]);
    for args in [
        &["ls", "cloud"][..],
        &["find", "cloud", "*txt"],
        &["restore", "cloud", "--to", "out"],
        &["diff", "cloud", "1", "1"],
    ] {
        let text = world.ok(args);
        let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(harmful), "{args:?}: {text:?}");
    }
    assert!(world.ok(&["ls", "cloud"]).contains("\\u{1b}]0;pwned"));
    assert_eq!(fs::read(world.at("out").join(strange)).unwrap(), b"strange");
    assert_eq!(fs::read(world.at("out").join("a/".repeat(1100)).join("end")).unwrap(), b"deep");
    let listed = world.json(0, &["ls", "cloud"]);
    let one = listed["entries"].as_array().unwrap().iter().find(|e| !e["path_bytes"].is_null()).unwrap();
    assert_eq!(one["path_bytes"], hex::encode(strange.as_bytes()));
    let mut cat = world.command(&["cat", "cloud"]);
    assert_eq!(cat.arg(strange).output().unwrap().stdout, b"strange");
}

#[test]
fn a_destination_that_takes_nothing_is_named() {
    let world = World::new();
    world.write("file", noise(2 << 20, 9));
    // No folder can be made there, by root neither.
    let text = world.ends(73, &["backup", "source", "--to", "/sys"]);
    assert!(text.contains("/sys/bkv-") && text.contains("Make the destination writable"), "{text}");
    world.ends(73, &["backup", "source", "--to", "absent"]);
    // No file may have more than 512 KiB: as a full disk.
    let line = format!(
        "trap '' XFSZ; ulimit -f 1024; exec '{}' backup source --to cloud --name docs",
        env!("CARGO_BIN_EXE_bkv")
    );
    let limited = |line: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(world.root()).env("BKV_STATE", world.at("state"));
        shell.output().unwrap()
    };
    let output = limited(&line);
    assert_eq!(output.status.code(), Some(73), "{}", shown(&output));
    assert!(shown(&output).contains("no room is left"), "{}", shown(&output));
    assert_eq!(world.backup(&[])["generation"], 1);
    world.ok(&["verify", "cloud"]);
}

/// Both kinds in one place.
#[test]
fn single_files_beside_series_are_named_and_stay_readable() {
    let world = World::new();
    world.write("file", "old");
    world.ok(&["backup", "source", "--to", "cloud", "--form", "old-file"]);
    // Only single files: as always.
    world.ok(&["restore", "cloud", "--to", "one"]);
    assert_eq!(fs::read(world.at("one/file")).unwrap(), b"old");
    let text = world.ends(66, &["backups", "cloud"]);
    assert!(text.contains("1 backup in single files") && text.contains("source-000001.bkv"), "{text}");
    world.ends(2, &["restore", "cloud", "--to", "none", "--series", "docs"]);
    world.write("file", "new");
    let text = world.ok(&["backup", "source", "--to", "cloud", "--name", "docs"]);
    assert!(text.contains("source-000001.bkv") && text.contains("stay as they are"), "{text}");
    // Once is enough.
    let text = world.ok(&["backup", "source", "--to", "cloud", "--form", "series", "--name", "docs"]);
    assert!(!text.contains("source-000001.bkv"), "{text}");
    let text = world.ok(&["restore", "cloud", "--to", "two"]);
    assert!(text.contains("source-000001.bkv") && text.contains("does not look at them"), "{text}");
    assert_eq!(fs::read(world.at("two/file")).unwrap(), b"new");
    world.ok(&["restore", "cloud/source-000001.bkv", "--to", "three"]);
    assert_eq!(fs::read(world.at("three/file")).unwrap(), b"old");
    assert!(world.ok(&["inspect", "cloud/source-000001.bkv"]).contains("sequence"));
    // Whoever can remove the series' folder can't have an old file taken for the newest.
    let account = fs::read_dir(world.at("cloud")).unwrap().map(|entry| entry.unwrap().path());
    let account = account.into_iter().find(|path| path.is_dir()).unwrap();
    fs::rename(&account, world.at("hidden")).unwrap();
    for empty in [false, true] {
        if empty {
            fs::create_dir(&account).unwrap();
        }
        let text = world.ends(65, &["restore", "cloud", "--to", "none"]);
        assert!(text.contains("it is not there") && text.contains("FILE.bkv"), "{text}");
        assert!(!world.at("none").exists());
    }
    world.ok(&["restore", "cloud/source-000001.bkv", "--to", "named"]);
    let text = world.ok(&["restore", "cloud", "--to", "older", "--allow-older"]);
    assert!(text.contains("it is not there"), "{text}");
    fs::remove_dir(&account).unwrap();
    fs::rename(world.at("hidden"), &account).unwrap();
    for option in ["--exclude=x", "--dry-run", "--read-all"] {
        world.ends(2, &["backup", "source", "--to", "cloud", "--form", "old-file", option]);
    }
}
