//! Options of `bkv dev` that a local fleet can't have.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bkv_stack_tests::program::{Program, program, skipped};
use bkv_stack_tests::refusal::{message, refused};
use bkv_stack_tests::{Answer, Fleet, bkv, files, wait};
use rustix::process::Signal;

#[test]
fn bad_options_for_a_local_fleet_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("fleet");
    let at = at.to_str().unwrap();
    refused(bkv(["dev", "up", "--dir", at, "--regions", "2"]), 64, &["--regions 2", "1, 3 or 5"]);
    for (option, value) in
        [("--shards", "0"), ("--shards", "257"), ("--last-try-ms", "0"), ("--lifetime-failures", "0")]
    {
        refused(bkv(["dev", "up", "--dir", at, option, value]), 64, &[option, "Nothing was made"]);
    }
    refused(bkv(["dev", "up", "--dir", at, "--jitter", "30%"]), 64, &["--jitter", "--round-trip"]);
    assert!(!Path::new(at).exists(), "options that are refused leave a folder");
    refused(bkv(["dev", "status", "--dir", at]), 66, &["no local fleet in", "bkv dev up"]);
    refused(bkv(["dev", "down", "--dir", at]), 66, &["no local fleet in"]);
    refused(bkv(["dev", "token", "alice", "--dir", at]), 66, &["no local fleet in"]);
    fs::write(dir.path().join("file"), "").unwrap();
    let under_a_file = dir.path().join("file/fleet");
    let answer = bkv(["dev", "up", "--dir", under_a_file.to_str().unwrap()]).expect(73);
    assert!(message(&answer).contains("file/fleet"), "{answer:?}");
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    refused(fleet.dev(&["region", "stop", "mars"], &[]), 66, &["no region `mars`", "eu-west"]);
    let answer = fleet.dev(&["token", ""], &[]).expect(66);
    assert!(message(&answer).contains("subject"), "{answer:?}");
    // A second `up` changes nothing.
    fleet.dev(&["up"], &[]).expect(0);
    fleet.dev(&["up"], &["--regions", "1", "--shards", "4", "--no-postgres"]).expect(0);
    // `bkv` refuses options that are fixed when the fleet is made.
    for (options, words) in [
        (&["--regions", "3"][..], "--regions: the fleet in this folder has 1"),
        (&["--shards", "8"], "--shards: the fleet in this folder has 4"),
        (&["--waits-ms", "0,1000"], "--waits-ms"),
        (&["--last-try-ms", "1"], "--last-try-ms"),
        (&["--lifetime-failures", "7"], "--lifetime-failures"),
        (&["--bound-tokens"], "--bound-tokens: the fleet in this folder has a policy"),
        (&["--round-trip", "100ms"], "--round-trip and --jitter: the fleet in this folder has no delays"),
    ] {
        refused(fleet.dev(&["up"], options), 64, &[words, "fixed when it is made", "--dir"]);
    }
    // `up` returns when every shard is led.
    let status = fleet.dev(&["status"], &[]).expect(0).json;
    assert_eq!(status["regions"][0]["leads"].as_array().map(Vec::len), Some(4), "{status}");
    fs::write(fleet.dir().join("plan.json.kept"), fs::read(fleet.dir().join("plan.json")).unwrap()).unwrap();
    fs::write(fleet.dir().join("plan.json"), "{").unwrap();
    let answer = fleet.dev(&["status"], &[]).expect(64);
    assert!(message(&answer).contains("plan.json"), "{answer:?}");
    fs::rename(fleet.dir().join("plan.json.kept"), fleet.dir().join("plan.json")).unwrap();
}

/// What the command did must be true, and a vault that can't answer is named at once.
#[test]
fn a_region_that_is_stopped_paused_or_without_its_port_is_named_with_the_remedy() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let region = |verb: &str| fleet.dev(&["region", verb, "eu-west"], &[]);
    let status = || fleet.dev(&["status"], &[]).expect(0).json["regions"][0].clone();
    assert!(status()["node"].as_u64().is_some_and(|node| node > 0), "{}", status());

    assert_eq!(region("pause").expect(0).json["changed"], true);
    assert_eq!(region("pause").expect(0).json["changed"], false);
    assert_eq!((&status()["paused"], &status()["ready"]), (&true.into(), &false.into()));
    refused(fleet.dev(&["up"], &[]), 69, &["vault eu-west", "is paused", "bkv dev region resume eu-west"]);
    refused(region("start"), 69, &["is paused", "bkv dev region resume eu-west"]);
    assert_eq!(region("resume").expect(0).json["changed"], true);
    fleet.wait_ready(1);

    assert_eq!(region("stop").expect(0).json["changed"], true);
    assert_eq!(region("stop").expect(0).json["changed"], false);
    for verb in ["pause", "resume"] {
        refused(region(verb), 69, &["eu-west does not run", "bkv dev region start eu-west"]);
    }
    let port = fleet.port("eu-west", "relay");
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let chatd = fleet.dev(&["status"], &[]).json["chatd"]["pid"].clone();
    for answer in [region("start"), fleet.dev(&["up"], &[])] {
        refused(answer, 69, &["vault eu-west", &format!("port {port}"), "ss -tlnp", "--dir"]);
    }
    assert_eq!(
        fleet.dev(&["status"], &[]).json["chatd"]["pid"],
        chatd,
        "a failed `up` stopped what ran before"
    );
    drop(taken);
    assert_eq!(region("start").expect(0).json["changed"], true);
    fleet.wait_ready(1);
    assert_eq!(region("start").expect(0).json["changed"], false);
}

/// Numbers of the programs that run, by the pid files of the fleet.
fn running(stack: &Path) -> Vec<u32> {
    let pids = files(stack).into_iter().filter(|f| f.file_name().is_some_and(|name| name == "pid"));
    let numbers = pids.filter_map(|f| fs::read_to_string(f).ok()?.split(' ').next()?.parse().ok());
    let runs = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    };
    numbers.filter(runs).collect()
}

#[test]
fn an_up_that_is_interrupted_leaves_nothing_running_and_the_next_one_works() {
    let dir = tempfile::tempdir().unwrap();
    let stack = dir.path().join("stack");
    let at = stack.to_str().unwrap();
    let up = ["dev", "up", "--dir", at, "--regions", "1", "--no-postgres"];
    for signal in [Signal::INT, Signal::TERM] {
        let mut command = program("bkv");
        command.args(up);
        let interrupted = Program::start(command);
        wait("a vault", Duration::from_mins(1), || !running(&stack).is_empty());
        interrupted.signal(signal);
        let end = interrupted.end(Duration::from_mins(1));
        end.expect(130, &["interrupted", "is stopped again"]);
        assert_eq!(running(&stack), Vec::<u32>::new());
    }
    // The root has perhaps signed documents already: the fleet that was never complete is made again, also with other options.
    bkv(["dev", "up", "--dir", at, "--regions", "1", "--no-postgres", "--shards", "2"]).expect(0);
    assert_eq!(running(&stack).len(), 2);
    assert_eq!(bkv(["dev", "down", "--dir", at]).expect(0).json["stopped"], true);
    assert_eq!(running(&stack), Vec::<u32>::new());
    assert_eq!(bkv(["dev", "down", "--dir", at]).expect(0).json["stopped"], false);
}

/// The `bkv` of an unprivileged user, who may not enter the folder of the build.
fn as_nobody(fleet: &Fleet, arguments: &[&str]) -> Answer {
    let copy = fleet.path("bkv");
    fs::copy(program("bkv").get_program(), &copy).unwrap();
    let mut command = Command::new(copy);
    command.stdin(Stdio::null()).arg("--json").args(arguments).uid(65534).gid(65534).current_dir("/");
    let end = Program::start(command).end(Duration::from_mins(1));
    Answer { code: end.code, json: serde_json::from_str(&end.out).unwrap_or_default(), stderr: end.err }
}

#[test]
fn another_users_fleet_is_not_reported_as_stopped() {
    if !rustix::process::getuid().is_root() {
        return skipped("`bkv dev down` of another user", "only root can run a command as another user");
    }
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let (before, dir) = (running(&fleet.dir()), fleet.dir());
    let answer = as_nobody(&fleet, &["dev", "down", "--dir", dir.to_str().unwrap()]);
    refused(answer, 1, &["another user's (user id 0)", "still runs", "Repeat the command as that user"]);
    assert_eq!(running(&fleet.dir()), before);
    assert_eq!(before.len(), 2);
}

/// The runbooks use `curl`, which checks the host name.
#[test]
fn curl_reaches_an_administration_port() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let file = |name: &str| fleet.dir().join("admin").join(name);
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--noproxy", "*"]);
    curl.arg("--cert")
        .arg(file("tls.crt"))
        .arg("--key")
        .arg(file("tls.key"))
        .arg("--cacert")
        .arg(file("ca.crt"));
    curl.arg(format!("https://127.0.0.1:{}/v1/status", fleet.port("eu-west", "admin")));
    let Ok(answer) = curl.output() else { return skipped("curl", "it is not installed") };
    let status: serde_json::Value = serde_json::from_slice(&answer.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&answer.stderr)));
    assert_eq!(status["region"], "eu-west", "{status}");
    // The tokens for a file are for its owner only.
    let out = fleet.path("alice.token");
    let token = || fleet.dev(&["token", "alice"], &["--out", out.to_str().unwrap()]);
    assert_eq!(token().expect(0).json["replaced"], false);
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(token().expect(0).json["replaced"], true);
    fs::write(&out, "notes").unwrap();
    refused(token(), 73, &["alice.token", "holds no tokens", "Choose another file"]);
}
