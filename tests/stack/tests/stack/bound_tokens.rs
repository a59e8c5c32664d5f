//! `bkv` with tokens that are bound to the device's key, in a fleet that takes no others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use bkv_stack_tests::refusal::refused;
use bkv_stack_tests::{Account, Fleet, RIGHT, bkv};

/// Gets tokens for a device's key, as an app would from its identity provider.
fn bind(fleet: &Fleet, account: &Account<'_>, device: &str) {
    let state = account.state(device);
    let key = bkv(["token-key", "--state", state.to_str().unwrap()]).expect(0).json;
    let tokens = fleet.dev(&["token", &account.subject], &["--jkt", key["jkt"].as_str().unwrap()]);
    fs::write(&account.token, tokens.expect(0).json.to_string()).unwrap();
}

/// S46: the thief of a token file gets nothing with it. With the device's key everything works.
#[test]
fn s46_a_stolen_token_file_is_of_no_use_without_the_devices_key() {
    let fleet = Fleet::with(&["--no-postgres", "--bound-tokens"]);
    let alice = fleet.account("alice");
    let unbound = alice.run(&["register"], "home", Some(RIGHT));
    refused(unbound, 77, &["has no cnf.jkt", "bkv token-key"]);
    bind(&fleet, &alice, "home");
    alice.run(&["register"], "home", Some(RIGHT)).expect(0);
    let mode = fs::metadata(alice.state("home").join("token-key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A thief has the token file, and perhaps a key of their own.
    refused(alice.recover("thief", RIGHT), 77, &["no key for it", "bkv token-key"]);
    bkv(["token-key", "--state", alice.state("thief").to_str().unwrap()]).expect(0);
    refused(alice.recover("thief", RIGHT), 77, &["another key", "bkv token-key"]);
    // A new device gets tokens for its own key. A wrong password costs a try, and the right one gives it back.
    bind(&fleet, &alice, "phone");
    let wrong = alice.recover("phone", "another otter paints the south door").expect(10);
    assert_eq!(wrong.json["tries_left"], 9, "{wrong:?}");
    alice.recover("phone", RIGHT).expect(0);
    let status = alice.run(&["status"], "phone", None).expect(0);
    assert_eq!(status.json["tries_left"], 10, "{status:?}");
    // A file that holds no key is an error, not a device without one.
    fs::write(alice.state("phone").join("token-key.pem"), "{").unwrap();
    refused(alice.run(&["status"], "phone", None), 64, &["token-key.pem", "PKCS#8"]);
}
