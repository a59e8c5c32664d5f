//! Several devices and several commands of one account: numbers of backups, and signals while a key is recovered.

use std::fs;
use std::time::Duration;

use bkv_stack_tests::program::{Program, in_terminal};
use bkv_stack_tests::{Fleet, RIGHT, wait};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_mins(1);

/// S29 for single files: the device that is behind counts on from the newest number that it can learn of, from the vault or from the folder. A restore takes the newest.
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
        let answer = alice
            .run(&["backup", &at(source), "--to", &at(to), "--form", "old-file"], device, None)
            .expect(0)
            .json;
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
        let state = state.to_str().unwrap();
        let args = ["backup", &at("docs"), "--to", &at("cloud"), "--form", "old-file", "--state", state];
        let answer = bkv_stack_tests::bkv(args).expect(0).json;
        assert_eq!(answer["named_at_vault"], false, "{answer}");
        answer["sequence"].as_u64().unwrap()
    };
    assert_eq!([offline("home"), offline("laptop"), offline("home")], [7, 8, 9]);
}

/// A signal ends a recovery in order: with the code for it, without a lock or half a state that is left, and the right password still gets the key and all tries.
#[test]
fn a_signal_during_a_recovery_leaves_no_lock_and_loses_no_key() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    fs::write(fleet.path("right"), RIGHT).unwrap();
    let sockets = |pid: u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:")))
            .count()
    };
    for (n, signal) in [Signal::INT, Signal::TERM, Signal::HUP].into_iter().enumerate() {
        let device = format!("device{n}");
        fleet.region("pause", "eu-west");
        let mut command = in_terminal("bkv");
        command.args(alice.args(&["--json", "recover", "--yes"], &device));
        command.arg("--password-file").arg(fleet.path("right"));
        let recovering = Program::start(command);
        // The runtime's own sockets for signals, open before the lock is taken.
        let idle = 3;
        let lock = alice.state(&device).join("lock");
        let is_at_work = || fs::read_to_string(&lock).is_ok_and(|pid| pid == recovering.pid().to_string());
        wait("a connection", PATIENCE, || is_at_work() && sockets(recovering.pid()) > idle);
        recovering.signal(signal);
        let end = recovering.end(PATIENCE);
        end.expect(130, &["interrupted"]);
        assert!(!alice.state(&device).join("device.json").exists());
        fleet.region("resume", "eu-west");
        fleet.wait_ready(1);
        // The lock is free, and what may have been sent costs nothing after a right password.
        alice.recover(&device, RIGHT).expect(0);
        assert_eq!(alice.tries_left(), 10);
    }
}
