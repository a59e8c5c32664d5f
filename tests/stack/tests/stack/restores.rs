//! What a restore checks before it asks the vault, and what it knows about the newest backup.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bkv_stack_tests::folder::names;
use bkv_stack_tests::program::{Program, program};
use bkv_stack_tests::{Account, Answer, Fleet, RIGHT, wait};

const WRONG: &str = "wrong password entirely";

fn at(fleet: &Fleet, name: &str) -> String {
    fleet.path(name).to_str().unwrap().to_owned()
}

fn backup_as(fleet: &Fleet, account: &Account<'_>, device: &str, cloud: &str, form: &str) -> Answer {
    let args = ["backup", &at(fleet, "original"), "--to", &at(fleet, cloud), "--form", form];
    let answer = account.run(&args, device, None).expect(0);
    assert_eq!(answer.json["named_at_vault"], true, "{answer:?}");
    answer
}

/// A backup in a single file; gives its path.
fn backup(fleet: &Fleet, account: &Account<'_>, device: &str, cloud: &str) -> PathBuf {
    PathBuf::from(backup_as(fleet, account, device, cloud, "old-file").json["file"].as_str().unwrap())
}

fn text(a: &Answer) -> String {
    format!("{} {}", a.json, a.stderr)
}

fn folders(fleet: &Fleet, all: &[&str]) {
    for folder in all {
        fs::create_dir(fleet.path(folder)).unwrap();
    }
    fs::write(fleet.path("original/a"), "one").unwrap();
}

/// The command reports every mistake in its arguments before an attempt begins, with a wrong password as with the right one.
#[test]
fn mistakes_in_the_arguments_are_reported_before_a_try_is_spent() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let (alice, bob) = (fleet.registered("alice"), fleet.registered("bob"));
    folders(&fleet, &["original", "cloud", "series", "others", "other-series", "garbage", "empty", "taken"]);
    let mine = backup(&fleet, &alice, "home", "cloud");
    let theirs = backup(&fleet, &bob, "home", "others");
    backup_as(&fleet, &alice, "home", "series", "series");
    backup_as(&fleet, &bob, "home", "other-series", "series");
    fs::write(fleet.path("garbage/a.bkv"), "not a backup at all").unwrap();
    fs::write(fleet.path("taken/file"), "").unwrap();
    let (mine, theirs) = (mine.to_str().unwrap().to_owned(), theirs.to_str().unwrap().to_owned());
    let file = at(&fleet, "taken/file");
    for (from, to, code) in [
        (at(&fleet, "cloud"), at(&fleet, "taken"), 73),
        (at(&fleet, "cloud"), file.clone(), 73),
        (at(&fleet, "cloud"), at(&fleet, "no/such/parent"), 73),
        (at(&fleet, "cloud"), format!("{file}/below"), 73),
        (at(&fleet, "series"), at(&fleet, "taken"), 73),
        (at(&fleet, "series"), file.clone(), 73),
        (at(&fleet, "series"), at(&fleet, "no/such/parent"), 73),
        (at(&fleet, "series"), format!("{file}/below"), 73),
        (at(&fleet, "other-series"), at(&fleet, "out"), 66),
        (at(&fleet, "absent"), at(&fleet, "out"), 66),
        (at(&fleet, "absent.bkv"), at(&fleet, "out"), 66),
        (at(&fleet, "empty"), at(&fleet, "out"), 66),
        (at(&fleet, "garbage"), at(&fleet, "out"), 65),
        (at(&fleet, "garbage/a.bkv"), at(&fleet, "out"), 65),
        (theirs, at(&fleet, "out"), 65),
        (at(&fleet, "others"), at(&fleet, "out"), 65),
    ] {
        let answer = alice.run(&["restore", &from, "--to", &to, "--yes"], "new", Some(WRONG)).expect(code);
        assert!(answer.json["remedy"].is_string(), "{answer:?}");
    }
    let status = alice.run(&["status"], "home", None).expect(0).json;
    assert_eq!((status["tries_left"].as_u64(), status["lifetime_failures"].as_u64()), (Some(10), Some(0)));
    for (from, device, to) in [(mine, "new", "out"), (at(&fleet, "series"), "newer", "out2")] {
        alice.run(&["restore", &from, "--to", &at(&fleet, to), "--yes"], device, Some(RIGHT)).expect(0);
    }
}

/// S29 for single files: a device keeps which backup was the newest at its recovery, so a later restore there notices an older backup without any vault. A device that has the
/// key but recovered earlier asks the vault, and reports it if no vault answers.
#[test]
fn s29_a_recovered_device_knows_the_newest_backup_and_an_old_one_asks() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    folders(&fleet, &["original", "cloud"]);
    let first = backup(&fleet, &alice, "home", "cloud");
    alice.recover("old", RIGHT).expect(0);
    let second = backup(&fleet, &alice, "home", "cloud");
    let third = backup(&fleet, &alice, "home", "cloud");
    alice.recover("phone", RIGHT).expect(0);
    // The attacker's storage hides all backups after the second.
    fs::rename(&third, fleet.path("hidden")).unwrap();
    let state = |device: &str| alice.state(device).to_str().unwrap().to_owned();
    let offline = |device: &str, from: &PathBuf, to: &str| {
        bkv_stack_tests::bkv([
            "restore",
            from.to_str().unwrap(),
            "--to",
            &at(&fleet, to),
            "--state",
            &state(device),
        ])
    };
    let rolled = offline("phone", &second, "a").expect(65);
    assert!(text(&rolled).contains("rolled back"), "{rolled:?}");
    // The device `old` knows only the first backup. Without a token it can't know of others. With a token it asks the vault.
    offline("old", &second, "b").expect(0);
    let cloud = at(&fleet, "cloud");
    let rolled = alice.run(&["restore", &cloud, "--to", &at(&fleet, "c")], "old", None).expect(65);
    assert!(text(&rolled).contains("rolled back"), "{rolled:?}");
    alice.run(&["restore", &cloud, "--to", &at(&fleet, "d"), "--allow-older"], "old", None).expect(0);
    offline("old", &first, "e").expect(65);
    // No vault is reachable: the restore goes on and reports that.
    fleet.region("kill", "eu-west");
    let answer =
        alice.run(&["restore", &cloud, "--to", &at(&fleet, "f"), "--timeout", "2"], "old", None).expect(0);
    assert!(answer.stderr.contains("could not be asked which backup is the newest"), "{answer:?}");
}

/// Several accounts share a folder: each restores its own newest backup. Of single files the command lists the others.
#[test]
fn backups_of_other_accounts_in_the_folder_are_skipped_and_named() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let (alice, bob) = (fleet.registered("alice"), fleet.registered("bob"));
    folders(&fleet, &["original", "cloud"]);
    backup(&fleet, &bob, "home", "cloud");
    let bobs = backup(&fleet, &bob, "home", "cloud");
    fs::rename(&bobs, fleet.path("cloud/bobs-newest.bkv")).unwrap();
    fs::rename(fleet.path("cloud/original-000001.bkv"), fleet.path("cloud/bobs.bkv")).unwrap();
    let mine = backup(&fleet, &alice, "home", "cloud");
    for (device, password, to) in [("home", None, "a"), ("new", Some(RIGHT), "b")] {
        let answer = alice
            .run(&["restore", &at(&fleet, "cloud"), "--to", &at(&fleet, to)], device, password)
            .expect(0);
        assert_eq!(answer.json["file"], mine.to_str().unwrap());
        for name in ["bobs.bkv", "bobs-newest.bkv"] {
            assert!(answer.stderr.contains(&format!("{name}: another account's")), "{answer:?}");
        }
    }
    fs::create_dir(fleet.path("shared")).unwrap();
    for (who, content) in [(&bob, "of bob"), (&alice, "of alice")] {
        fs::write(fleet.path("original/a"), content).unwrap();
        backup_as(&fleet, who, "home", "shared", "series");
    }
    for (who, want) in [(&bob, "of bob"), (&alice, "of alice")] {
        for (device, password) in [("home", None), ("newest", Some(RIGHT))] {
            let to = at(&fleet, &format!("{want} {device}"));
            who.run(&["restore", &at(&fleet, "shared"), "--to", &to], device, password).expect(0);
            assert_eq!(fs::read_to_string(format!("{to}/a")).unwrap(), want);
        }
    }
}

/// kill -9 in the middle leaves a folder with plaintext or half a backup. The next run of the same command reports and removes it.
#[test]
fn the_next_run_removes_the_leftovers_of_a_killed_backup_or_restore() {
    let dir = tempfile::tempdir().unwrap();
    let at = |n: &str| dir.path().join(n).to_str().unwrap().to_owned();
    for folder in ["original", "cloud", "out"] {
        fs::create_dir(at(folder)).unwrap();
    }
    fs::write(at("original/large"), bkv_stack_tests::folder::bytes(200 << 20)).unwrap();
    bkv_stack_tests::bkv(["key", "new", "--state", &at("state")]).expect(0);
    let killed = |args: &[String], folder: &str, ending: &str| {
        let mut command = program("bkv");
        command.args(args);
        let running = Program::start(command);
        let at = dir.path().join(folder);
        // A file without a byte is taken over without a word.
        let is_begun = |n: &String| fs::symlink_metadata(at.join(n)).is_ok_and(|m| m.is_dir() || m.len() > 0);
        let left = || names(&at).into_iter().find(|n| n.ends_with(ending) && is_begun(n));
        wait(&format!("something ending in {ending}"), Duration::from_secs(20), || left().is_some());
        running.signal(rustix::process::Signal::KILL);
        assert_eq!(running.end(Duration::from_secs(10)).code, -1, "the program had ended before the kill");
        left().expect("a leftover")
    };
    let words = |w: &[&str]| w.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let backup = words(&["backup", &at("original"), "--to", &at("cloud"), "--state", &at("state")]);
    let file = [&backup[..], &words(&["--form", "old-file"])].concat();
    let left = killed(&file, "cloud", ".partial");
    let answer = bkv_stack_tests::bkv(&file).expect(0);
    assert!(answer.stderr.contains(&left) && answer.stderr.contains("Removed"), "{answer:?}");
    assert_eq!(names(&dir.path().join("cloud")), ["original-000001.bkv"]);
    let restored = |to: &str| {
        let to = format!("out/{to}");
        let restore = words(&["restore", &at("cloud"), "--to", &at(&to), "--state", &at("state")]);
        let left = killed(&restore, "out", ".restoring");
        let answer = bkv_stack_tests::bkv(&restore).expect(0);
        assert!(answer.stderr.contains(&left) && answer.stderr.contains("Removed"), "{answer:?}");
    };
    restored("back");
    assert_eq!(names(&dir.path().join("out")), ["back"]);
    // The same with a series. Of a killed backup it keeps no file that a user could take for one.
    bkv_stack_tests::bkv(&backup).expect(0);
    restored("series");
    assert_eq!(names(&dir.path().join("out")), ["back", "series"]);
}

/// The command lists what it leaves out: pipes, sockets, and the backups. Of single files that is the folder that they go to, of series the account's folder in it.
#[test]
fn entries_that_a_backup_leaves_out_are_listed_with_a_reason() {
    for (form, number, own) in
        [("old-file", "sequence", "backups go there"), ("series", "generation", "the backups themselves")]
    {
        let dir = tempfile::tempdir().unwrap();
        let at = |n: &str| dir.path().join(n).to_str().unwrap().to_owned();
        fs::create_dir_all(at("original/cloud")).unwrap();
        fs::write(at("original/a"), "text").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("original/socket")).unwrap();
        bkv_stack_tests::bkv(["key", "new", "--state", &at("state")]).expect(0);
        let run = |to: &str, name: &str| {
            let (from, to, state) = (at("original"), at(to), at("state"));
            let args = ["backup", &from, "--to", &to, "--name", name, "--state", &state, "--form", form];
            bkv_stack_tests::bkv(args).expect(0)
        };
        for n in 1..=2 {
            let answer = run("original/cloud", "docs");
            assert_eq!((&answer.json["files"], &answer.json[number]), (&1.into(), &n.into()), "{answer:?}");
            let skipped = answer.json["skipped"].as_array().unwrap();
            assert_eq!(skipped.len(), 2, "{answer:?}");
            for (path, reason) in [(at("original/socket"), "socket"), (at("original/cloud"), own)] {
                let is_it = |entry: &&serde_json::Value| entry["path"].as_str().unwrap().starts_with(&path);
                let entry = skipped.iter().find(is_it).expect(&path);
                assert!(entry["reason"].as_str().unwrap().contains(reason), "{answer:?}");
                assert!(answer.stderr.contains(&format!("left out: {path}")), "{answer:?}");
            }
        }
        // A backup of a folder into itself leaves out the backups, and holds those of the folder inside.
        let files = || run("original", "x").json["files"].as_u64().unwrap();
        let first = files();
        assert!(first >= 3, "a, and the backups in the folder inside: {first}");
        assert_eq!(files(), first);
    }
}
