//! A command with the wrong state folder never loses or sends its key or binds it to another account, and finds the mistake without a try.

use std::fs;
use std::path::Path;

use bkv_stack_tests::{Account, Answer, Fleet, RIGHT, bkv};

const WRONG: &str = "wrong password entirely";

/// Expects the code, the text in the message, and a remedy that names `--state`.
#[track_caller]
fn refused(a: Answer, code: i32, word: &str) {
    let a = a.expect(code);
    let (message, remedy) = (a.json["message"].as_str().unwrap(), a.json["remedy"].as_str().unwrap());
    assert!(message.contains(word) && remedy.contains("--state"), "{a:?}");
}

fn device(state: &Path) -> Vec<u8> {
    fs::read(state.join("device.json")).unwrap()
}

/// Copies one account's state to where another's command will look for its own.
fn lend(from: &Account<'_>, to: &Account<'_>, device: &str) -> std::path::PathBuf {
    let state = to.state(device);
    bkv_stack_tests::folder::copy(&from.state("home"), &state);
    state
}

/// S32: no command overwrites or sends a 64-digit key.
#[test]
fn s32_a_64_digit_key_is_neither_written_over_nor_sent() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    let state = alice.state("digits");
    bkv(["key", "new", "--state", state.to_str().unwrap()]).expect(0);
    let before = device(&state);
    for password in [RIGHT, WRONG] {
        refused(alice.run(&["recover", "--yes"], "digits", Some(password)), 73, "64-digit key");
    }
    refused(alice.run(&["register"], "digits", Some(RIGHT)), 73, "64-digit key");
    refused(alice.run(&["delete", "--yes"], "digits", None), 15, "64-digit key");
    assert_eq!(device(&state), before);
    // `bkv` does not send the digits with the tokens of an account without a key either: that account still has none.
    let carol = fleet.account("carol");
    let state = carol.state("digits");
    bkv(["key", "new", "--state", state.to_str().unwrap()]).expect(0);
    refused(carol.run(&["register"], "digits", Some(RIGHT)), 73, "64-digit key");
    assert_eq!(carol.run(&["status"], "digits", None).expect(0).json["state"], "none");
    let status = alice.run(&["status"], "home", None).expect(0).json;
    assert_eq!((status["tries_left"].as_u64(), status["lifetime_failures"].as_u64()), (Some(10), Some(0)));
}

/// S29: every command refuses a state folder of another account before it sends, binds or writes anything.
#[test]
fn s29_another_accounts_state_is_refused_and_nothing_is_bound_to_it() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let (gina, frank) = (fleet.registered("gina"), fleet.registered("frank"));
    let at = |n: &str| fleet.path(n).to_str().unwrap().to_owned();
    for folder in ["original", "cloud"] {
        fs::create_dir(fleet.path(folder)).unwrap();
    }
    gina.run(&["backup", &at("original"), "--to", &at("cloud")], "home", None).expect(0);
    let state = lend(&gina, &frank, "lent");
    let before = device(&state);
    refused(frank.run(&["recover", "--yes"], "lent", Some(WRONG)), 21, "another account's key");
    refused(frank.run(&["recover", "--yes"], "lent", Some(RIGHT)), 21, "another account's key");
    refused(frank.run(&["register"], "lent", Some(RIGHT)), 21, "another account's key");
    refused(frank.run(&["status"], "lent", None), 21, "another account's key");
    refused(frank.run(&["delete", "--yes"], "lent", None), 21, "another account's key");
    refused(
        frank.run(&["backup", &at("original"), "--to", &at("cloud")], "lent", None),
        21,
        "another account's key",
    );
    refused(
        frank.run(&["restore", &at("cloud"), "--to", &at("out")], "lent", None),
        21,
        "another account's key",
    );
    fs::write(fleet.path("new"), "an entirely different passphrase").unwrap();
    let change = ["password", "change", "--new-password-file", &at("new")];
    refused(frank.run(&change, "lent", Some(RIGHT)), 21, "another account's key");
    assert_eq!(device(&state), before);
    assert_eq!(fs::read_dir(fleet.path("cloud")).unwrap().count(), 1);
    assert!(!fleet.path("out").exists());
    // Frank's account: no try spent, no backup named, no key replaced; Gina's as it was.
    let status = frank.run(&["status"], "home", None).expect(0).json;
    assert_eq!((status["tries_left"].as_u64(), status["lifetime_failures"].as_u64()), (Some(10), Some(0)));
    assert!(status["newest_backup"].is_null() && status["writers"] == serde_json::json!([]), "{status}");
    let status = gina.run(&["status"], "home", None).expect(0).json;
    assert_eq!(status["writers"][0]["ledger"], 1, "{status}");
    frank.recover("new", RIGHT).expect(0);
    gina.recover("new", RIGHT).expect(0);
}

/// Every command reports an unreadable state before it asks for a password or spends a try.
#[test]
fn a_broken_state_is_noticed_before_a_try_is_spent() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    let good = fs::read_to_string(alice.state("home").join("device.json")).unwrap();
    let mut one_field: serde_json::Value = serde_json::from_str(&good).unwrap();
    one_field["account"] = "0123".into();
    for (device, text) in [("half", &good[..good.len() / 2]), ("field", &one_field.to_string())] {
        fs::create_dir(alice.state(device)).unwrap();
        fs::write(alice.state(device).join("device.json"), text).unwrap();
        alice.recover(device, WRONG).expect(64);
        alice.recover(device, RIGHT).expect(64);
        alice.run(&["status"], device, None).expect(64);
        alice.run(&["register"], device, Some(RIGHT)).expect(64);
        assert_eq!(fs::read_to_string(alice.state(device).join("device.json")).unwrap(), text);
    }
    // The same with the other file of the folder.
    alice.recover("memory", RIGHT).expect(0);
    fs::write(alice.state("memory").join("memory.json"), "{").unwrap();
    alice.recover("memory", WRONG).expect(64);
    // A folder that is not writable.
    fs::write(alice.state("file"), "").unwrap();
    let answer = alice.recover("file", WRONG).expect(73);
    assert!(answer.json["remedy"].as_str().unwrap().contains("--state"), "{answer:?}");
    let status = alice.run(&["status"], "home", None).expect(0).json;
    assert_eq!((status["tries_left"].as_u64(), status["lifetime_failures"].as_u64()), (Some(10), Some(0)));
}

/// `register` reports what it did: a new key, a new password for the device's key, or, after a deletion, a new key with the old one put aside.
#[test]
fn registering_again_reports_what_it_did_and_never_reuses_a_deleted_key() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.account("alice");
    let at = |n: &str| fleet.path(n).to_str().unwrap().to_owned();
    let key = |state: &Path| {
        bkv(["key", "show", "--state", state.to_str().unwrap()]).expect(0).json["key"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let home = alice.state("home");
    assert_eq!(alice.run(&["register"], "home", Some(RIGHT)).expect(0).json["did"], "new-key");
    let first = key(&home);
    for folder in ["original", "cloud"] {
        fs::create_dir(fleet.path(folder)).unwrap();
    }
    fs::write(fleet.path("original/a"), "text").unwrap();
    alice.run(&["backup", &at("original"), "--to", &at("cloud")], "home", None).expect(0);
    let new = "an entirely different passphrase";
    assert_eq!(alice.run(&["register"], "home", Some(new)).expect(0).json["did"], "password-replaced");
    assert_eq!(key(&home), first);
    alice.recover("old", RIGHT).expect(10);
    // A second device has a code of its own, and a command that helps.
    let second = alice.run(&["register"], "second", Some(RIGHT)).expect(20);
    assert!(second.json["remedy"].as_str().unwrap().contains("`bkv recover`"), "{second:?}");
    alice.run(&["delete", "--yes"], "home", None).expect(0);
    let again = alice.run(&["register"], "home", Some(RIGHT)).expect(0);
    assert_eq!(again.json["did"], "new-key");
    assert_ne!(key(&home), first, "the deleted key was registered again");
    // The old key is not lost: its backups can be read with the state folder that the command reports, without a vault.
    let aside = home.join("earlier-1");
    assert!(again.stderr.contains(aside.to_str().unwrap()), "{again:?}");
    assert_eq!(key(&aside), first);
    bkv(["restore", &at("cloud"), "--to", &at("out"), "--state", aside.to_str().unwrap()]).expect(0);
    assert_eq!(fs::read_to_string(fleet.path("out/a")).unwrap(), "text");
}

/// A device that holds the account's own key may recover it again, and keeps what it knows.
#[test]
fn recovering_the_devices_own_key_again_keeps_its_state() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    let at = |n: &str| fleet.path(n).to_str().unwrap().to_owned();
    for folder in ["original", "cloud"] {
        fs::create_dir(fleet.path(folder)).unwrap();
    }
    alice.run(&["backup", &at("original"), "--to", &at("cloud")], "home", None).expect(0);
    let before = device(&alice.state("home"));
    alice.recover("home", RIGHT).expect(0);
    assert_eq!(device(&alice.state("home")), before);
}
