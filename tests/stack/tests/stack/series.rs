//! Series of backups under a password: the vaults name the newest ledger of each device and keep V.

use std::fs;

use bkv_stack_tests::{Fleet, RIGHT, bkv};
use serde_json::Value;

/// So many days from now, in milliseconds since 1970.
fn in_days(days: u64) -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap() + days * 86_400_000
}

/// A new device restores with the password, two devices share a destination, and an older copy of the destination is noticed by a device that never saw the newer one.
#[test]
fn s29_a_new_device_restores_series_by_password_and_notices_an_older_copy() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    let at = |n: &str| fleet.path(n).to_str().unwrap().to_owned();
    for folder in ["docs", "cloud"] {
        fs::create_dir(fleet.path(folder)).unwrap();
    }
    let backup = |content: &str, device: &str, options: &[&str]| {
        fs::write(fleet.path("docs/file"), content).unwrap();
        let (docs, cloud) = (at("docs"), at("cloud"));
        let args = [&["backup", &docs, "--to", &cloud, "--name", "docs"], options].concat();
        alice.run(&args, device, None).expect(0).json
    };
    // A dry run tells the vault nothing.
    backup("zero", "home", &["--dry-run"]);
    let first = backup("one", "home", &[]);
    assert_eq!((&first["named_at_vault"], &first["generation"]), (&true.into(), &1.into()), "{first}");
    let copied = std::process::Command::new("cp").args(["-a", &at("cloud"), &at("earlier")]).status();
    assert!(copied.unwrap().success());
    assert_eq!(backup("two", "home", &[])["generation"], 2);
    let restore = |from: &str, to: &str, device: &str, options: &[&str]| {
        let (from, to) = (at(from), at(to));
        alice.run(&[&["restore", &from, "--to", &to], options].concat(), device, Some(RIGHT))
    };
    // Nothing but the token and the password.
    restore("cloud", "out", "phone", &[]).expect(0);
    assert_eq!(fs::read(fleet.path("out/file")).unwrap(), b"two");
    restore("cloud", "old", "phone", &["--generation", "1"]).expect(0);
    assert_eq!(fs::read(fleet.path("old/file")).unwrap(), b"one");
    let refused = restore("earlier", "none", "tablet", &[]).expect(65).json;
    assert!(refused["message"].as_str().unwrap().contains("older copy of the destination"), "{refused}");
    restore("earlier", "none", "phone", &[]).expect(65);
    assert!(!fleet.path("none").exists());

    // The phone makes a history of its own.
    let made = backup("of the phone", "phone", &[]);
    assert_eq!((&made["generation"], &made["named_at_vault"]), (&1.into(), &true.into()), "{made}");
    let list = alice.run(&["backups", &at("cloud")], "home", None).expect(0).json;
    let standings: Vec<_> =
        list["writers"].as_array().unwrap().iter().map(|w| w["standing"].clone()).collect();
    assert_eq!(standings, ["named", "named"], "{list}");
    alice.run(&["verify", &at("cloud")], "home", None).expect(0);
    for _ in 0..2 {
        backup("three", "home", &[]);
    }
    let pruned = alice.run(&["prune", &at("cloud"), "--keep-last", "1"], "home", None).expect(0).json;
    assert_eq!(pruned["condemned"].as_array().unwrap().len(), 3, "{pruned}");

    // Without a vault the backup is whole, and the next one that reaches it names it.
    let state = alice.state("home");
    let (docs, cloud) = (at("docs"), at("cloud"));
    let offline = ["backup", &docs, "--to", &cloud, "--name", "docs", "--state"];
    let answer = bkv([&offline[..], &[state.to_str().unwrap()]].concat()).expect(0).json;
    assert_eq!(answer["named_at_vault"], false, "{answer}");
    let list = alice.run(&["backups", &at("cloud")], "phone", None).expect(0).json;
    assert!(list.to_string().contains("\"newer\""), "{list}");
    assert_eq!(backup("four", "home", &[])["named_at_vault"], true);

    // No vault is reachable: a device that made the backups restores them and reports that.
    fleet.region("kill", "eu-west");
    let home = list["writers"].as_array().unwrap().iter().find(|w| w["this_device"] == false).unwrap();
    let home = home["writer"].as_str().unwrap();
    let args = ["restore", &at("cloud"), "--to", &at("alone"), "--writer", home, "--timeout", "2"];
    let answer = alice.run(&args, "home", None).expect(0);
    assert!(answer.stderr.contains("It is not known what the vault has"), "{answer:?}");
    assert_eq!(fs::read(fleet.path("alone/file")).unwrap(), b"four");
}

/// A1 for series: a backup that no vault will ever name does not end with 0.
#[test]
fn a_backup_under_a_key_that_is_gone_ends_with_12() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    let at = |n: &str| fleet.path(n).to_str().unwrap().to_owned();
    for folder in ["docs", "cloud"] {
        fs::create_dir(fleet.path(folder)).unwrap();
    }
    fs::write(fleet.path("docs/file"), "x").unwrap();
    let (docs, cloud) = (at("docs"), at("cloud"));
    let args = ["backup", &docs, "--to", &cloud, "--quiet"];
    alice.run(&args, "home", None).expect(0);
    let until = alice.run(&["delete", "--yes"], "home", None).expect(0).json["v_kept_until_ms"].clone();
    assert!(until.as_u64().unwrap() > in_days(6) && until.as_u64().unwrap() < in_days(8), "{until}");
    let answer = alice.run(&args, "home", None).expect(12).json;
    assert_eq!((&answer["complete"], &answer["generation"]), (&true.into(), &2.into()), "{answer}");
    // All name the same date.
    assert_eq!(answer["v_kept_until_ms"], until, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("the vault gives V"), "{answer}");
    assert_eq!(alice.run(&["writers"], "home", None).expect(0).json["kept_until_ms"], until);
    // This device opens it all the same.
    alice.run(&["restore", &at("cloud"), "--to", &at("out")], "home", None).expect(0);
}

/// After a theft people make another key, as docs/backups.md advises. The backups of the earlier key stay where they are, and the commands pass them over.
#[test]
fn backups_of_an_earlier_key_are_passed_over_and_stay_readable() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    let at = |n: &str| fleet.path(n).to_str().unwrap().to_owned();
    for folder in ["docs", "cloud", "copy"] {
        fs::create_dir(fleet.path(folder)).unwrap();
    }
    let (docs, cloud) = (at("docs"), at("cloud"));
    let backup = |content: &str| {
        fs::write(fleet.path("docs/file"), content).unwrap();
        alice.run(&["backup", &docs, "--to", &cloud], "home", None).expect(0).json
    };
    let made = backup("of the earlier key");
    alice.run(&["delete", "--yes"], "home", None).expect(0);
    alice.run(&["register"], "home", Some(RIGHT)).expect(0);
    backup("of this key");
    for (device, password, to) in [("home", None, "again"), ("phone", Some(RIGHT), "new")] {
        let restored = alice.run(&["restore", &cloud, "--to", &at(to)], device, password).expect(0);
        assert!(restored.stderr.contains("1 writer of another key"), "{restored:?}");
        assert_eq!(fs::read(fleet.path(to).join("file")).unwrap(), b"of this key");
        alice.run(&["verify", &cloud], device, None).expect(0);
        alice.run(&["backups", &cloud], device, None).expect(0);
    }
    alice.run(&["copy", &cloud, "--to", &at("copy")], "home", None).expect(0);
    // Without the vault's word the other writer could be one of this key whose ledger was exchanged.
    let state = alice.state("home");
    let alone = ["restore", &cloud, "--to", &at("none"), "--state"];
    bkv([&alone[..], &[state.to_str().unwrap()]].concat()).expect(15);
    let earlier = state.join("earlier-1");
    let alone =
        ["restore", &cloud, "--to", &at("old"), "--writer", made["writer"].as_str().unwrap(), "--state"];
    bkv([&alone[..], &[earlier.to_str().unwrap()]].concat()).expect(0);
    assert_eq!(fs::read(fleet.path("old/file")).unwrap(), b"of the earlier key");
}

/// The vault forgets a writer seven days after it was asked to. A backup by its device takes that back, and another device's request does not end this device's backups.
#[test]
fn a_writer_is_forgotten_on_request_and_a_backup_takes_that_back() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    let at = |n: &str| fleet.path(n).to_str().unwrap().to_owned();
    for folder in ["docs", "cloud"] {
        fs::create_dir(fleet.path(folder)).unwrap();
    }
    fs::write(fleet.path("docs/file"), "x").unwrap();
    let (docs, cloud) = (at("docs"), at("cloud"));
    let back_up = || {
        let args = ["backup", &docs, "--to", &cloud, "--name", "docs"];
        alice.run(&args, "home", None).expect(0).json
    };
    let made = back_up();
    let list = |device: &str| {
        let list = alice.run(&["writers"], device, None).expect(0).json;
        assert_eq!((list["writers"].as_array().unwrap().len(), &list["kept_until_ms"]), (1, &Value::Null));
        list["writers"][0].clone()
    };
    let writer = made["writer"].as_str().unwrap();
    let own = list("home");
    assert_eq!((&own["writer"], &own["of"]), (&writer.into(), &"this device".into()), "{own}");
    alice.run(&["recover"], "phone", Some(RIGHT)).expect(0);
    assert_eq!(list("phone")["of"], "another device");

    let short = &writer[..8];
    // Without a terminal the answer is no.
    alice.run(&["forget", short], "phone", None).expect(2);
    alice.run(&["forget", "no-writer", "--yes"], "phone", None).expect(66);
    alice.run(&["forget", "", "--yes"], "phone", None).expect(2);
    assert_eq!(list("phone")["forgotten_until_ms"], Value::Null);
    let forgotten = alice.run(&["forget", short, "--yes"], "phone", None).expect(0).json;
    let until = forgotten["kept_until_ms"].as_u64().unwrap();
    assert!(until > in_days(6) && until < in_days(8), "{forgotten}");
    // Once is enough.
    let again = alice.run(&["forget", short, "--yes"], "phone", None).expect(0).json;
    assert_eq!(again["kept_until_ms"], until, "{again}");
    assert_eq!(list("home")["forgotten_until_ms"], until);
    // Until then everything is as before.
    alice.run(&["restore", &cloud, "--to", &at("out")], "phone", None).expect(0);
    assert_eq!(back_up()["named_at_vault"], true);
    assert_eq!(list("phone")["forgotten_until_ms"], Value::Null);
    // The same key gives the same passwords for other programs.
    let derive = |device: &str| {
        let state = alice.state(device);
        bkv(["key", "derive", "restic", "--state", state.to_str().unwrap()]).expect(0).json
    };
    assert_eq!(derive("home")["password"], derive("phone")["password"]);
}

/// A folder that has single files of an earlier version too: a device without a key takes the account's series, or its files if it has no series.
#[test]
fn a_new_device_tells_series_and_single_files_apart_by_the_account() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let (alice, bob) = (fleet.registered("alice"), fleet.registered("bob"));
    let at = |n: &str| fleet.path(n).to_str().unwrap().to_owned();
    for folder in ["docs", "cloud"] {
        fs::create_dir(fleet.path(folder)).unwrap();
    }
    let (docs, cloud) = (at("docs"), at("cloud"));
    for (who, content, form) in
        [(&alice, "old", "old-file"), (&bob, "of bob", "old-file"), (&alice, "new", "series")]
    {
        fs::write(fleet.path("docs/file"), content).unwrap();
        who.run(&["backup", &docs, "--to", &cloud, "--form", form], "home", None).expect(0);
    }
    for (who, want) in [(&alice, "new"), (&bob, "of bob")] {
        let out = at(&format!("out of {want}"));
        who.run(&["restore", &cloud, "--to", &out], "new", Some(RIGHT)).expect(0);
        assert_eq!(fs::read_to_string(format!("{out}/file")).unwrap(), want);
    }
    // A single file on a device that has only the password. One that is cut costs no try.
    let file = at("one.bkv");
    fs::write(fleet.path("docs/file"), "in one file").unwrap();
    alice.run(&["backup", &docs, "--to", &file], "home", None).expect(0);
    fs::write(fleet.path("cut.bkv"), &fs::read(&file).unwrap()[..100]).unwrap();
    alice
        .run(&["restore", &at("cut.bkv"), "--to", &at("cut")], "newest", Some("a wrong password"))
        .expect(65);
    alice.run(&["restore", &file, "--to", &at("one")], "newest", Some(RIGHT)).expect(0);
    assert_eq!(fs::read_to_string(fleet.path("one/file")).unwrap(), "in one file");
}
