//! Backups that were damaged, swapped, cut or rolled back, and disks and files that fail: `bkv` names the cause and leaves no partial result.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bkv_stack_tests::folder::{SmallDisk, assert_same, bytes, copy, names, tree};
use bkv_stack_tests::program::{Program, in_terminal, program, skipped};
use bkv_stack_tests::{Answer, Fleet, RIGHT, bkv, files, wait};
use rustix::process::{Signal, getuid};

const SEGMENT: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_mins(1);

/// A device in 64-digit mode, a folder, its backup, and a place to restore to.
struct Stand {
    dir: tempfile::TempDir,
}

impl Stand {
    fn new(large: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let stand = Self { dir };
        tree(&stand.path("original"), large);
        fs::create_dir(stand.path("cloud")).unwrap();
        fs::create_dir(stand.path("out")).unwrap();
        bkv(["key", "new", "--state", &stand.at("device")]).expect(0);
        stand
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn at(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The options of a backup to this folder.
    fn backing_up(&self, to: &str) -> Vec<String> {
        let (from, to, state) = (self.at("original"), self.at(to), self.at("device"));
        ["backup", &from, "--to", &to, "--state", &state].map(str::to_owned).to_vec()
    }

    /// Makes a backup in a single file; gives its path.
    #[track_caller]
    fn backup(&self) -> PathBuf {
        let done = bkv(form(&self.backing_up("cloud"), "old-file")).expect(0);
        PathBuf::from(done.json["file"].as_str().unwrap())
    }

    /// Another device with the same digits, that has seen no backup yet.
    fn fresh_device(&self, name: &str) {
        let shown = bkv(["key", "show", "--state", &self.at("device")]).expect(0).json;
        fs::write(self.path("digits"), shown["key"].as_str().unwrap()).unwrap();
        bkv(["key", "enter", "--state", &self.at(name), "--key-file", &self.at("digits")]).expect(0);
    }

    fn restore(&self, file: &Path, device: &str, more: &[&str]) -> Answer {
        let (file, to, state) = (file.to_str().unwrap().to_owned(), self.at("out/restored"), self.at(device));
        let mut args = vec!["restore", &file, "--to", &to, "--state", &state];
        args.extend_from_slice(more);
        bkv(args)
    }

    /// `bkv` refuses the file with this code and message, and the destination's folder stays empty.
    #[track_caller]
    fn refused(&self, file: &Path, device: &str, codes: &[i32], words: &str) {
        let answer = self.restore(file, device, &[]);
        assert!(codes.contains(&answer.code), "{codes:?}: {answer:?}");
        let message = answer.json["message"].as_str().unwrap_or_default();
        assert!(message.contains(words), "`{words}` in {message}");
        assert!(answer.json["remedy"].as_str().is_some_and(|r| !r.is_empty()), "no remedy: {answer:?}");
        assert_eq!(names(&self.path("out")), Vec::<String>::new(), "something was left behind");
    }

    /// Writes changed bytes as another file.
    fn changed(&self, bytes: &[u8]) -> PathBuf {
        let file = self.path("changed.bkv");
        fs::write(&file, bytes).unwrap();
        file
    }
}

fn form(args: &[String], form: &str) -> Vec<String> {
    [args, &["--form".into(), form.into()]].concat()
}

/// S28, S30: one flipped bit anywhere. A bit in the header may hit the key check, which then looks like a wrong key.
#[test]
fn s28_a_flipped_bit_anywhere_is_refused() {
    let stand = Stand::new(3 * SEGMENT);
    let good = fs::read(stand.backup()).unwrap();
    stand.fresh_device("fresh");
    let header = 9 + u32::from_be_bytes(good[5..9].try_into().unwrap()) as usize;
    let mut places: Vec<usize> = (0..header).step_by(7).collect();
    // The stream's own head, both sides of each seam, the last tag, the end mark.
    for seam in 0..4 {
        let at = header + seam * SEGMENT;
        places.extend([at, at + 1, at + 39, at + 40, at + SEGMENT / 2, at + SEGMENT - 1]);
    }
    places.extend((1..=29).map(|n| good.len() - n));
    places.retain(|p| *p < good.len());
    for place in places {
        let mut bad = good.clone();
        bad[place] ^= 1 << (place % 8);
        let file = stand.changed(&bad);
        let codes: &[i32] = if place < header { &[65, 15] } else { &[65] };
        stand.refused(&file, "fresh", codes, "");
    }
    // The file itself is whole.
    stand.restore(&stand.changed(&good), "fresh", &[]).expect(0);
    assert_same(&stand.path("original"), &stand.path("out/restored"));
}

/// S28, S30: cut, extended, segments swapped, dropped, doubled, from another backup of the same account.
#[test]
fn s28_cut_extended_or_rearranged_segments_are_refused() {
    let stand = Stand::new(4 * SEGMENT);
    let good = fs::read(stand.backup()).unwrap();
    let second = fs::read(stand.backup()).unwrap();
    assert_eq!(good.len(), second.len());
    stand.fresh_device("fresh");
    let header = 9 + u32::from_be_bytes(good[5..9].try_into().unwrap()) as usize;
    let seg = |n: usize| header + n * SEGMENT..header + (n + 1) * SEGMENT;
    for cut in
        [1, 11, 12, 13, 40, SEGMENT / 2, SEGMENT, 2 * SEGMENT, good.len() - header, good.len() - header + 3]
    {
        stand.refused(&stand.changed(&good[..good.len() - cut]), "fresh", &[65], "cut short");
    }
    stand.refused(&stand.changed(&[]), "fresh", &[65], "not a backup");
    for more in [vec![0], vec![0; 12], good[good.len() - 12..].to_vec(), good[seg(1)].to_vec()] {
        stand.refused(&stand.changed(&[good.clone(), more].concat()), "fresh", &[65], "");
    }
    let mut swapped = good.clone();
    swapped[seg(1)].copy_from_slice(&good[seg(2)]);
    swapped[seg(2)].copy_from_slice(&good[seg(1)]);
    stand.refused(&stand.changed(&swapped), "fresh", &[65], "damaged in segment 1");
    let dropped = [&good[..seg(1).end], &good[seg(2).end..]].concat();
    stand.refused(&stand.changed(&dropped), "fresh", &[65], "damaged in segment 2");
    let doubled = [&good[..seg(1).end], &good[seg(1)], &good[seg(1).end..]].concat();
    stand.refused(&stand.changed(&doubled), "fresh", &[65], "damaged in segment 2");
    let mut foreign = good.clone();
    foreign[seg(2)].copy_from_slice(&second[seg(2)]);
    stand.refused(&stand.changed(&foreign), "fresh", &[65], "damaged in segment 2");
    let mut body = second;
    body[..header].copy_from_slice(&good[..header]);
    stand.refused(&stand.changed(&body), "fresh", &[65], "damaged in segment 0");
    stand.refused(&stand.changed(b"BKVB\x09 of another time"), "fresh", &[65], "version 9");
    stand.refused(&stand.changed(&[0x50; 4000]), "fresh", &[65], "not a backup");
    // A folder with nothing but broken ones is damaged, not empty.
    fs::create_dir(stand.path("broken")).unwrap();
    fs::write(stand.path("broken/a.bkv"), &good[..20]).unwrap();
    stand.refused(&stand.path("broken"), "fresh", &[65], "a.bkv");
}

/// S30: a restore with the wrong key.
#[test]
fn s30_a_wrong_key_and_a_damaged_file_have_different_messages() {
    let stand = Stand::new(1000);
    let file = stand.backup();
    bkv(["key", "new", "--state", &stand.at("other")]).expect(0);
    stand.refused(&file, "other", &[15], "not the key of this backup");
    fs::create_dir(stand.path("series")).unwrap();
    bkv(stand.backing_up("series")).expect(0);
    stand.refused(&stand.path("series"), "other", &[15], "no series of this key");
    // `bkv` refuses mistyped digits at once if there are not 64. Otherwise opening a backup fails.
    for bad in ["abc", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64)] {
        fs::write(stand.path("typo"), bad).unwrap();
        let answer =
            bkv(["key", "enter", "--state", &stand.at("typo-device"), "--key-file", &stand.at("typo")])
                .expect(66);
        assert!(answer.json["remedy"].as_str().unwrap().contains("64 digits"), "{answer:?}");
        assert!(
            !answer.stderr.contains(bad) && !answer.json.to_string().contains(bad),
            "the digits are shown"
        );
    }
}

/// S29: `bkv` reports a backup older than the newest known as a rollback. --allow-older accepts it. Entering the digits again forgets nothing.
#[test]
fn s29_an_older_backup_is_noticed() {
    let stand = Stand::new(1000);
    let first = stand.backup();
    fs::write(stand.path("original/deep/text"), "newer").unwrap();
    let second = stand.backup();
    stand.refused(&first, "device", &[65], "rolled back");
    stand.fresh_device("device");
    stand.refused(&first, "device", &[65], "rolled back");
    // The storage hides the newer one: the folder as a whole is older.
    fs::rename(&second, stand.path("hidden.bkv")).unwrap();
    stand.refused(&stand.path("cloud"), "device", &[65], "sequence 1");
    stand.restore(&first, "device", &["--allow-older"]).expect(0);
    assert_eq!(fs::read_to_string(stand.path("out/restored/deep/text")).unwrap(), "text");
    fs::remove_dir_all(stand.path("out/restored")).unwrap();
    // A device that restored the newer one once knows it from then on.
    stand.fresh_device("fresh");
    stand.restore(&stand.path("hidden.bkv"), "fresh", &[]).expect(0);
    fs::remove_dir_all(stand.path("out/restored")).unwrap();
    stand.refused(&first, "fresh", &[65], "rolled back");
}

/// S29: a state of an earlier version has the newest backup in `device.json`. It protects as before, and moves into the memory.
#[test]
fn s29_a_state_of_an_earlier_version_notices_an_older_backup() {
    let stand = Stand::new(1000);
    let first = stand.backup();
    stand.backup();
    let memory = fs::read_to_string(stand.path("device/memory.json")).unwrap();
    let memory: serde_json::Value = serde_json::from_str(&memory).unwrap();
    let newest = memory["backups"].as_object().unwrap().values().next().unwrap();
    let device = fs::read_to_string(stand.path("device/device.json")).unwrap();
    let mut device: serde_json::Value = serde_json::from_str(&device).unwrap();
    (device["sequence"], device["hash"]) = (newest["sequence"].clone(), newest["hash"].clone());
    fs::write(stand.path("device/device.json"), device.to_string()).unwrap();
    fs::remove_file(stand.path("device/memory.json")).unwrap();
    stand.refused(&first, "device", &[65], "rolled back");
    assert!(stand.path("device/memory.json").exists());
    // A memory that does not decode is refused, never taken for an empty one.
    fs::write(stand.path("device/memory.json"), "{").unwrap();
    stand.refused(&first, "device", &[64], "memory.json");
}

/// S29 over a real fleet: another account's file, and on a new device the vault knows which backup is the newest.
#[test]
fn s29_foreign_and_older_backups_are_refused_on_new_devices_too() {
    let fleet = Fleet::up();
    let at = |n: &str| fleet.path(n).to_str().unwrap().to_owned();
    tree(&fleet.path("original"), 1000);
    let (alice, bob) = (fleet.registered("alice"), fleet.registered("bob"));
    // Without a backup of this account a folder with series is the wrong folder, and one with single files holds files that do not fit.
    for (form, code, foreign, rolled_back) in [
        ("series", 66, "other account", "older copy of the destination"),
        ("old-file", 65, "another account's", "rolled back"),
    ] {
        let name = |n: &str| format!("{form}-{n}");
        let (cloud, older, to) = (at(&name("cloud")), at(&name("older")), at(&name("out/restored")));
        fs::create_dir(&cloud).unwrap();
        fs::create_dir(at(&name("out"))).unwrap();
        let backup = ["backup", &at("original"), "--to", &cloud, "--form", form];
        alice.run(&backup, "home", None).expect(0);
        let says = |answer: &Answer, field: &str, words: &str| {
            assert!(answer.json[field].as_str().unwrap().contains(words), "{answer:?}");
        };
        let args = ["restore", &cloud, "--to", &to];
        let refused = bob.run(&args, "home", None).expect(code);
        says(&refused, "message", foreign);
        let refused = bob.run(&args, &name("new"), Some(RIGHT)).expect(code);
        says(&refused, "message", "account");
        copy(Path::new(&cloud), Path::new(&older));
        alice.run(&backup, "home", None).expect(0);
        let args = ["restore", &older, "--to", &to];
        let rollback = alice.run(&args, &name("newer"), Some(RIGHT)).expect(65);
        says(&rollback, "message", rolled_back);
        says(&rollback, "remedy", "--allow-older");
        assert_eq!(names(&fleet.path(&name("out"))), Vec::<String>::new());
        let args = ["restore", &older, "--to", &to, "--allow-older"];
        alice.run(&args, &name("newest"), Some(RIGHT)).expect(0);
        assert_same(&fleet.path("original"), Path::new(&to));
    }
}

#[test]
fn missing_and_existing_paths_are_named_and_left_alone() {
    let stand = Stand::new(1000);
    let file = stand.backup();
    // A file is in the way.
    tree(&stand.path("out/restored"), 10);
    let answer = stand.restore(&file, "device", &[]).expect(73);
    assert!(answer.json["message"].as_str().unwrap().contains("out/restored exists already"), "{answer:?}");
    assert_eq!(fs::read(stand.path("out/restored/large")).unwrap().len(), 10);
    assert_eq!(names(&stand.path("out")), ["restored"]);
    fs::remove_dir_all(stand.path("out/restored")).unwrap();
    // Missing.
    stand.refused(&stand.path("absent.bkv"), "device", &[66], "absent.bkv");
    fs::create_dir(stand.path("empty")).unwrap();
    stand.refused(&stand.path("empty"), "device", &[66], "no backup in");
    let answer = bkv([
        "restore",
        file.to_str().unwrap(),
        "--to",
        &stand.at("nowhere/x"),
        "--state",
        &stand.at("device"),
    ])
    .expect(73);
    assert!(answer.json["message"].as_str().unwrap().contains("nowhere"), "{answer:?}");
    let answer =
        bkv(["backup", &stand.at("absent"), "--to", &stand.at("cloud"), "--state", &stand.at("device")])
            .expect(66);
    assert!(answer.json["message"].as_str().unwrap().contains("absent"), "{answer:?}");
    let answer =
        bkv(["backup", &stand.at("original"), "--to", &stand.at("nowhere"), "--state", &stand.at("device")])
            .expect(73);
    assert!(answer.json["message"].as_str().unwrap().contains("nowhere"), "{answer:?}");
    for name in ["", ".hidden", "a/b"] {
        bkv([form(&stand.backing_up("cloud"), "old-file"), vec!["--name".into(), name.into()]].concat())
            .expect(66);
    }
    let unnamed = bkv([stand.backing_up("cloud"), vec!["--name".into(), String::new()]].concat()).expect(2);
    assert!(unnamed.json["message"].as_str().unwrap().contains("1 to 255 bytes"), "{unnamed:?}");
    fs::remove_dir_all(stand.path("cloud").join(account_folder(&stand.path("cloud")))).unwrap();
    assert_eq!(names(&stand.path("cloud")), ["original-000001.bkv"]);
    let answer =
        bkv(["backup", &stand.at("original"), "--to", &stand.at("cloud"), "--state", &stand.at("unborn")])
            .expect(13);
    assert!(answer.json["remedy"].as_str().unwrap().contains("bkv register"), "{answer:?}");
    fs::write(stand.path("device/device.json"), "{\"mode\": \"digits\"").unwrap();
    stand.refused(&file, "device", &[64], "device.json");
}

/// The folder of an account with series.
fn account_folder(cloud: &Path) -> String {
    names(cloud).into_iter().find(|name| name.starts_with("bkv-")).unwrap()
}

/// After a crash between the backup and the record of its number, the next backup works and overwrites nothing.
#[test]
fn a_backup_whose_number_was_not_recorded_is_not_overwritten() {
    let stand = Stand::new(1000);
    let first = stand.backup();
    let content = fs::read(&first).unwrap();
    fs::remove_file(stand.path("device/memory.json")).unwrap();
    let second = stand.backup();
    assert_ne!(first, second);
    assert_eq!(fs::read(&first).unwrap(), content);
    stand.restore(&stand.path("cloud"), "device", &[]).expect(0);
}

/// `bkv` as an unprivileged user, since mode bits do not stop root.
fn as_nobody(stand: &Stand, args: &[String]) -> Answer {
    let mut command = program("bkv");
    command.arg("--json").args(args);
    if getuid().is_root() {
        for folder in ["device", "cloud"] {
            for f in files(&stand.path(folder)) {
                chown(f, Some(65534), Some(65534)).unwrap();
            }
            chown(stand.path(folder), Some(65534), Some(65534)).unwrap();
        }
        command.uid(65534).gid(65534).current_dir("/");
    }
    let end = Program::start(command).end(PATIENCE);
    Answer { code: end.code, json: serde_json::from_str(&end.out).unwrap_or_default(), stderr: end.err }
}

#[test]
fn an_unreadable_source_file_is_named_and_can_be_left_out() {
    let stand = Stand::new(1000);
    let secret = stand.path("original/unreadable");
    fs::write(&secret, "x").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    if !bkv_stack_tests::bin_dir()
        .ancestors()
        .all(|d| d.metadata().is_ok_and(|m| m.permissions().mode() & 0o001 != 0))
    {
        return skipped("unreadable source file", "another user can't run the programs from this folder");
    }
    let args = form(&stand.backing_up("cloud"), "old-file");
    let answer = as_nobody(&stand, &args).expect(66);
    assert!(answer.json["message"].as_str().unwrap().contains("original/unreadable"), "{answer:?}");
    assert!(answer.json["remedy"].as_str().unwrap().contains("--skip-unreadable"), "{answer:?}");
    assert_eq!(names(&stand.path("cloud")), Vec::<String>::new());
    let left_out = |answer: &Answer, why: &str| {
        assert_eq!(answer.json["skipped"][0]["path"], secret.to_str().unwrap(), "{answer:?}");
        assert!(answer.json["skipped"][0]["reason"].as_str().unwrap().contains(why), "{answer:?}");
        assert!(answer.stderr.contains("unreadable"), "{answer:?}");
    };
    let answer = as_nobody(&stand, &[args, vec!["--skip-unreadable".into()]].concat()).expect(0);
    left_out(&answer, "denied");
    // A series costs the file only, and does not end with 0.
    let answer = as_nobody(&stand, &stand.backing_up("cloud")).expect(3);
    left_out(&answer, "can't be read");
    assert_eq!((&answer.json["complete"], &answer.json["files"]), (&false.into(), &2.into()), "{answer:?}");
    assert!(answer.json["remedy"].as_str().unwrap().contains("--exclude"), "{answer:?}");
    let answer =
        as_nobody(&stand, &[stand.backing_up("cloud"), vec!["--exclude=unreadable".into()]].concat());
    assert_eq!(answer.expect(0).json["complete"], true);
}

/// Backs up while a file grows.
fn while_it_changes(stand: &Stand, args: &[String]) -> Answer {
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        let large = stand.path("original/large");
        let stop = &stop;
        let writer = s.spawn(move || {
            let mut file = fs::File::options().append(true).open(large).unwrap();
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"more").unwrap();
                std::thread::yield_now();
            }
        });
        let answer = bkv(args);
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        answer
    })
}

#[test]
fn a_source_that_changes_is_named_and_never_passes_for_whole() {
    let stand = Stand::new(64 << 20);
    let answer = while_it_changes(&stand, &form(&stand.backing_up("cloud"), "old-file")).expect(66);
    assert!(answer.json["message"].as_str().unwrap().contains("original/large changed"), "{answer:?}");
    assert_eq!(names(&stand.path("cloud")), Vec::<String>::new());
    // Once the file no longer changes, the backup succeeds under the first number.
    assert!(stand.backup().ends_with("original-000001.bkv"));
    let answer = while_it_changes(&stand, &stand.backing_up("cloud")).expect(3);
    let skipped = &answer.json["skipped"][0];
    assert!(skipped["path"].as_str().unwrap().ends_with("original/large"), "{answer:?}");
    assert!(skipped["reason"].as_str().unwrap().contains("changed while it was read"), "{answer:?}");
    assert_eq!(bkv(stand.backing_up("cloud")).expect(0).json["complete"], true);
}

#[test]
fn a_full_disk_leaves_neither_half_backup_nor_half_restore() {
    let stand = Stand::new(4 << 20);
    let file = stand.backup();
    let Some(disk) = SmallDisk::mount(&stand.path("small"), "2m") else {
        return skipped("a full disk at the destination", "this machine lets the test mount nothing");
    };
    let says = |answer: &Answer, field: &str, words: &str| {
        assert!(answer.json[field].as_str().unwrap().contains(words), "{answer:?}");
    };
    let restore = |from: &str| {
        let (to, state) = (stand.at("small/restored"), stand.at("device"));
        bkv(["restore", from, "--to", &to, "--state", &state])
    };
    let answer = bkv(form(&stand.backing_up("small"), "old-file")).expect(73);
    says(&answer, "message", "no room left");
    says(&answer, "remedy", "Make room");
    assert_eq!(names(&stand.path("small")), Vec::<String>::new());
    says(&restore(file.to_str().unwrap()).expect(73), "message", "no room left");
    assert_eq!(names(&stand.path("small")), Vec::<String>::new());
    // A series that did not fit is none, and one that does not fit is refused before it is read.
    let answer = bkv(stand.backing_up("small")).expect(73);
    says(&answer, "message", "no room is left");
    says(&answer, "remedy", "Free some space");
    restore(&stand.at("small")).expect(66);
    bkv(stand.backing_up("cloud")).expect(0);
    let answer = restore(&stand.at("cloud")).expect(73);
    says(&answer, "message", "are to be restored");
    says(&answer, "remedy", "Free some space");
    fs::remove_dir_all(stand.path("small").join(account_folder(&stand.path("small")))).unwrap();
    assert_eq!(names(&stand.path("small")), Vec::<String>::new());
    // The device's own state on a full disk: the key that is there stays.
    copy(&stand.path("device"), &stand.path("small/state"));
    let before = fs::read(stand.path("small/state/device.json")).unwrap();
    let _ = fs::write(stand.path("small/filler"), vec![0; 4 << 20]);
    for (form, words) in [("old-file", "memory.json"), ("series", "small/state/writers")] {
        let (from, to, state) = (stand.at("original"), stand.at("cloud"), stand.at("small/state"));
        let answer = bkv(["backup", &from, "--to", &to, "--state", &state, "--form", form]).expect(73);
        says(&answer, "message", words);
    }
    assert_eq!(fs::read(stand.path("small/state/device.json")).unwrap(), before);
    drop(disk);
}

/// Ctrl-C, SIGTERM or a closed terminal in the middle: exit 130, nothing left behind.
#[test]
fn an_interrupt_leaves_nothing_behind() {
    let stand = Stand::new(1000);
    // Many holes: quick to make, long to read.
    let sparse = fs::File::create(stand.path("original/sparse")).unwrap();
    sparse.set_len(6 << 30).unwrap();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut command = in_terminal("bkv");
        command.arg("--json").args(form(&stand.backing_up("cloud"), "old-file"));
        let p = Program::start(command);
        let partial = stand.path("cloud/original-000001.bkv.partial");
        wait("a backup at work", PATIENCE, || fs::metadata(&partial).is_ok_and(|m| m.len() > 4 << 20));
        p.signal(signal);
        let end = p.end(PATIENCE);
        end.expect(130, &["interrupted", "Nothing was left behind"]);
        assert_eq!(names(&stand.path("cloud")), Vec::<String>::new());
    }
    // A small file that unpacks to a large one.
    sparse.set_len(1 << 30).unwrap();
    bkv([form(&stand.backing_up("cloud"), "old-file"), vec!["--compress".into()]].concat()).expect(0);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut command = in_terminal("bkv");
        command.args([
            "--json",
            "restore",
            &stand.at("cloud"),
            "--to",
            &stand.at("out/restored"),
            "--state",
            &stand.at("device"),
        ]);
        let p = Program::start(command);
        wait("a restore at work", PATIENCE, || {
            bkv_stack_tests::files(&stand.path("out"))
                .iter()
                .any(|f| f.ends_with("sparse") && f.metadata().is_ok_and(|m| m.len() > 4 << 20))
        });
        p.signal(signal);
        p.end(PATIENCE).expect(130, &["interrupted"]);
        assert_eq!(names(&stand.path("out")), Vec::<String>::new());
    }
}

/// The same for a series: the last backup stays whole, the next one ends well, and an interrupted restore leaves nothing.
#[test]
fn an_interrupt_leaves_the_last_generation_whole() {
    let stand = Stand::new(1000);
    bkv(stand.backing_up("cloud")).expect(0);
    for n in 0..32 {
        // Another beginning, so that each is stored.
        let content = [vec![n; 32], bytes(4 << 20)].concat();
        fs::write(stand.path(&format!("original/large-{n}")), content).unwrap();
    }
    let objects = || files(&stand.path("cloud")).len();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let before = objects();
        let mut command = in_terminal("bkv");
        command.arg("--json").args(stand.backing_up("cloud"));
        let p = Program::start(command);
        wait("a backup at work", PATIENCE, || objects() > before);
        p.signal(signal);
        p.end(PATIENCE).expect(130, &["interrupted", "The last complete backup is whole"]);
        let list = bkv(["backups", &stand.at("cloud"), "--state", &stand.at("device")]).expect(0).json;
        let made = list["writers"][0]["series"][0]["generations"].as_array().unwrap();
        assert_eq!(made.len(), 1, "{list}");
    }
    assert_eq!(bkv(stand.backing_up("cloud")).expect(0).json["generation"], 2);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut command = in_terminal("bkv");
        let (from, to, state) = (stand.at("cloud"), stand.at("out/restored"), stand.at("device"));
        command.args(["--json", "restore", &from, "--to", &to, "--state", &state]);
        let p = Program::start(command);
        wait("a restore at work", PATIENCE, || files(&stand.path("out")).len() > 2);
        p.signal(signal);
        p.end(PATIENCE).expect(130, &["interrupted", "Nothing was left behind"]);
        assert_eq!(names(&stand.path("out")), Vec::<String>::new());
    }
    stand.restore(&stand.path("cloud"), "device", &[]).expect(0);
    assert_same(&stand.path("original"), &stand.path("out/restored"));
}
