//! The main use on real processes: back up under a password, lose everything, restore.

use std::fs;

use bkv_stack_tests::{Fleet, RIGHT, bkv, files};

/// A folder with every kind of entry: nested folders, an empty folder, odd names, a link, a file larger than a segment.
fn tree(at: &std::path::Path) {
    fs::create_dir_all(at.join("deep/er")).unwrap();
    fs::create_dir_all(at.join("empty")).unwrap();
    fs::write(at.join("empty file"), b"").unwrap();
    fs::write(at.join("deep/er/naïve – ünïcode.txt"), "text").unwrap();
    let large: Vec<u8> = (0..3_500_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(at.join("large.bin"), large).unwrap();
    std::os::unix::fs::symlink("large.bin", at.join("link")).unwrap();
}

fn same(a: &std::path::Path, b: &std::path::Path) {
    let list = |d: &std::path::Path| {
        let mut l: Vec<_> = files(d).iter().map(|p| p.strip_prefix(d).unwrap().to_owned()).collect();
        l.sort();
        l
    };
    assert_eq!(list(a), list(b));
    for f in list(a) {
        assert_eq!(fs::read(a.join(&f)).unwrap(), fs::read(b.join(&f)).unwrap(), "{}", f.display());
    }
}

#[test]
fn everything_is_restored_after_the_device_is_lost() {
    let fleet = Fleet::up();
    let alice = fleet.registered("alice");
    let (original, cloud, restored) = (fleet.path("original"), fleet.path("cloud"), fleet.path("restored"));
    tree(&original);
    fs::create_dir(&cloud).unwrap();
    alice
        .run(&["backup", original.to_str().unwrap(), "--to", cloud.to_str().unwrap()], "home", None)
        .expect(0);
    // Device and originals are gone; a new device has the account's token and the password.
    fs::rename(&original, fleet.path("kept-for-comparison")).unwrap();
    fs::remove_dir_all(fleet.path("alice-home")).unwrap();
    let args = ["restore", cloud.to_str().unwrap(), "--to", restored.to_str().unwrap()];
    alice.run(&args, "new", Some(RIGHT)).expect(0);
    same(&fleet.path("kept-for-comparison"), &restored);
    assert!(restored.join("empty").is_dir());
    assert_eq!(fs::read_link(restored.join("link")).unwrap().to_str(), Some("large.bin"));
}

#[test]
fn a_changed_password_opens_the_same_backups_and_the_old_one_nothing() {
    let fleet = Fleet::up();
    let alice = fleet.registered("alice");
    let (original, cloud) = (fleet.path("original"), fleet.path("cloud"));
    tree(&original);
    fs::create_dir(&cloud).unwrap();
    alice
        .run(&["backup", original.to_str().unwrap(), "--to", cloud.to_str().unwrap()], "home", None)
        .expect(0);
    let new = fleet.path("new.password");
    fs::write(&new, "an entirely different passphrase").unwrap();
    let change = ["password", "change", "--new-password-file", new.to_str().unwrap()];
    alice.run(&change, "home", Some(RIGHT)).expect(0);
    alice.recover("old", RIGHT).expect(10);
    let restored = fleet.path("restored");
    let args = ["restore", cloud.to_str().unwrap(), "--to", restored.to_str().unwrap()];
    alice.run(&args, "new", Some("an entirely different passphrase")).expect(0);
    same(&original, &restored);
}

/// S16 for the owner: deleting needs the key, and afterwards there is nothing to recover.
#[test]
fn s16_a_deleted_key_is_gone_and_only_its_owner_can_delete_it() {
    let fleet = Fleet::up();
    let alice = fleet.registered("alice");
    // A device that has the account's tokens but never had the key can't delete.
    alice.run(&["delete", "--yes"], "stranger", None).expect(13);
    alice.recover("still", RIGHT).expect(0);
    alice.run(&["delete", "--yes"], "home", None).expect(0);
    alice.recover("late", RIGHT).expect(12);
}

/// S32: 64-digit mode sends nothing to a vault. This test runs without any vault.
#[test]
fn s32_sixty_four_digits_need_no_vault() {
    let dir = tempfile::tempdir().unwrap();
    let at = |n: &str| dir.path().join(n).to_str().unwrap().to_owned();
    tree(&dir.path().join("original"));
    fs::create_dir(at("cloud")).unwrap();
    bkv(["key", "new", "--state", &at("a")]).expect(0);
    let shown = bkv(["key", "show", "--state", &at("a")]).expect(0).json;
    let digits = shown.get("key").and_then(serde_json::Value::as_str).unwrap().to_owned();
    bkv(["backup", &at("original"), "--to", &at("cloud"), "--state", &at("a")]).expect(0);
    fs::write(at("digits"), &digits).unwrap();
    bkv(["key", "enter", "--state", &at("b"), "--key-file", &at("digits")]).expect(0);
    bkv(["restore", &at("cloud"), "--to", &at("restored"), "--state", &at("b")]).expect(0);
    same(&dir.path().join("original"), &dir.path().join("restored"));
    // A typo in one digit is noticed before anything is written.
    let flipped = if digits.ends_with('0') { '1' } else { '0' };
    fs::write(at("digits"), format!("{}{flipped}", &digits[..digits.len() - 1])).unwrap();
    bkv(["key", "enter", "--state", &at("c"), "--key-file", &at("digits")]).expect(0);
    bkv(["restore", &at("cloud"), "--to", &at("again"), "--state", &at("c")]).expect(15);
    assert!(!dir.path().join("again").exists());
}

/// S32: the digits of a device in password mode restore its single files on a device without the account. Its series need V too, and the refusal names what helps.
#[test]
fn s32_digits_of_a_password_device_restore_its_backups() {
    let fleet = Fleet::up();
    let alice = fleet.registered("alice");
    let at = |n: &str| fleet.path(n).to_str().unwrap().to_owned();
    tree(&fleet.path("original"));
    fs::create_dir(at("cloud")).unwrap();
    fs::create_dir(at("series")).unwrap();
    let backup = ["backup", &at("original"), "--to"];
    for form in ["old-file", "file"] {
        fs::create_dir(at(form)).unwrap();
        alice.run(&[&backup[..], &[&at(form), "--form", form]].concat(), "home", None).expect(0);
    }
    alice.run(&[&backup[..], &[&at("series")]].concat(), "home", None).expect(0);
    let shown = bkv(["key", "show", "--state", &at("alice-home")]).expect(0);
    assert!(shown.stderr.contains("A series also needs V"), "{shown:?}");
    fs::write(at("digits"), shown.json["key"].as_str().unwrap()).unwrap();
    bkv(["key", "enter", "--state", &at("other"), "--key-file", &at("digits")]).expect(0);
    for form in ["old-file", "file"] {
        let to = format!("restored {form}");
        bkv(["restore", &at(form), "--to", &at(&to), "--state", &at("other")]).expect(0);
        same(&fleet.path("original"), &fleet.path(&to));
    }
    let refused =
        bkv(["restore", &at("series"), "--to", &at("none"), "--state", &at("other")]).expect(15).json;
    assert!(refused["remedy"].as_str().unwrap().contains("`bkv recover`"), "{refused}");
}
