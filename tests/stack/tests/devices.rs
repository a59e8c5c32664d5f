//! Several devices of one account: numbers of backups.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;

use bkv_stack_tests::{Fleet, RIGHT};
/// S29: the device that is behind counts on from the newest number that it can learn of, from the vault or from the folder. A restore takes the newest.
#[test]
fn s29_two_devices_of_an_account_never_take_the_same_number() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    alice.recover("laptop", RIGHT).expect(0);
    let at = |n: &str| fleet.path(n).to_str().unwrap().to_owned();
    for folder in ["docs", "photos", "cloud", "disk"] {
        fs::create_dir(fleet.path(folder)).unwrap();
    }
    let mut made = 0;
    let mut backup = |source: &str, to: &str, device: &str| {
        fs::write(fleet.path(source).join("number"), made.to_string()).unwrap();
        let answer = alice.run(&["backup", &at(source), "--to", &at(to)], device, None).expect(0).json;
        let number = answer["sequence"].as_u64().unwrap();
        assert!(number > made, "{number} after {made}: {answer}");
        assert_eq!(answer["named_at_vault"], true, "{answer}");
        made = number;
    };
    for _ in 0..2 {
        backup("docs", "cloud", "home");
        // Another folder: only the vault tells the number.
        backup("photos", "disk", "laptop");
        backup("photos", "cloud", "laptop");
    }
    alice.run(&["restore", &at("cloud"), "--to", &at("out")], "phone", Some(RIGHT)).expect(0);
    assert_eq!(fs::read_to_string(fleet.path("out/number")).unwrap(), "5");
    // Without a vault the folder tells it.
    for region in fleet.regions() {
        fleet.region("kill", &region);
    }
    let offline = |device: &str| {
        let state = alice.state(device);
        let args = ["backup", &at("docs"), "--to", &at("cloud"), "--state", state.to_str().unwrap()];
        let answer = bkv_stack_tests::bkv(args).expect(0).json;
        assert_eq!(answer["named_at_vault"], false, "{answer}");
        answer["sequence"].as_u64().unwrap()
    };
    assert_eq!([offline("home"), offline("laptop"), offline("home")], [7, 8, 9]);
}
